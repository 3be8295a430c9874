'use strict';
(() => {
  const $ = id => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';
  const nodes = new Map([...document.querySelectorAll('.node')].map(g => [g.dataset.node, g]));
  const links = new Map([...document.querySelectorAll('.link')].map(g => [g.dataset.a + ' ' + g.dataset.b, g]));
  let state = null, number = -1, open = null, before = new Map(), seen = performance.now();

  const el = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const row = cells => { const tr = el('tr'); for (const c of cells) { const td = el('td'); td.append(c ?? ''); tr.append(td); } return tr; };
  const short = v => v >= 1e9 ? (v / 1e9).toPrecision(3) + ' G' : v >= 1e6 ? (v / 1e6).toPrecision(3) + ' M'
    : v >= 1e3 ? (v / 1e3).toPrecision(3) + ' k' : String(Math.round(v));
  const tiny = v => short(v < 1000 ? v : Number(v.toPrecision(2))).replace(/\.(\d)0/, '.$1').replace(/(\d\d)\.0/, '$1').replace(' ', '');
  const age = s => s === null || s === undefined ? '' : s < 60 ? s.toFixed(0) + ' s' : s < 3600 ? (s / 60).toFixed(0) + ' min' : (s / 3600).toFixed(1) + ' h';
  const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
  const fill = (id, children, none) => $(id).replaceChildren(...(children.length ? children : [el($(id).tagName === 'TBODY' ? 'tr' : 'li', none, 'none')]));

  // Each node has a sign and a line of its own for what it does just now.
  for (const g of nodes.values()) {
    const box = g.querySelector('.box'), sign = document.createElementNS(SVG, 'text');
    sign.setAttribute('x', Number(box.getAttribute('x')) + 68);
    sign.setAttribute('y', Number(box.getAttribute('y')) - 3);
    sign.setAttribute('text-anchor', 'middle');
    sign.setAttribute('class', 'signs');
    g.append(sign);
  }

  function paintNode(name, g) {
    const node = state.nodes[name] || { state: 'absent', health: 'down', sessions: [], interfaces: {} };
    const faults = state.faults.filter(f => (f.nodes || []).includes(name));
    const up = node.sessions.filter(s => s.up).length;
    const rx = Object.values(node.interfaces).reduce((sum, i) => sum + i.rx_packets, 0);
    const tx = Object.values(node.interfaces).reduce((sum, i) => sum + i.tx_packets, 0);
    for (const word of ['up', 'degraded', 'down']) g.classList.toggle(word, node.health === word);
    g.classList.toggle('faulted', faults.length > 0);
    const sign = g.querySelector('.signs');
    sign.textContent = (faults.length ? '⚡' : '') + { up: '✓', degraded: '!', down: '✗' }[node.health];
    sign.setAttribute('class', 'signs ' + node.health);
    g.querySelector('.node-role').textContent = node.state === 'running' ? '↓' + tiny(rx) + ' ↑' + tiny(tx) : node.state;
    const said = name + ': ' + node.state + (node.sessions.length ? ', ' + up + ' of ' + node.sessions.length + ' sessions up' : '')
      + ', ' + short(rx) + ' packets/s in, ' + short(tx) + ' out' + (faults.length ? ', fault: ' + faults.map(f => f.text).join('; ') : '');
    g.setAttribute('aria-label', said);
    g.querySelector('title').textContent = said;
    const now = node.state + '/' + node.health;
    if (before.has(name) && before.get(name) !== now) say(name + ' is ' + (node.state === 'running' ? node.health : node.state));
    before.set(name, now);
  }

  function say(words) {
    $('said').append(el('p', words));
    while ($('said').children.length > 20) $('said').firstChild.remove();
  }

  function spark(values) {
    const svg = document.createElementNS(SVG, 'svg'), line = document.createElementNS(SVG, 'polyline');
    const top = Math.max(1, ...values), step = 120 / 59;
    svg.setAttribute('class', 'spark'); svg.setAttribute('viewBox', '0 0 120 18'); svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', 'highest ' + short(Math.max(0, ...values)));
    line.setAttribute('points', values.map((v, i) => ((60 - values.length + i) * step).toFixed(1) + ',' + (17 - 16 * v / top).toFixed(1)).join(' '));
    svg.append(line);
    return svg;
  }

  function paintLink(link, most) {
    const g = links.get(link.a + ' ' + link.b);
    if (!g) return;
    const total = link.packets[0] + link.packets[1];
    g.classList.toggle('broken', !link.up);
    g.classList.toggle('busy', link.up && total >= 10);
    g.querySelector('.wire').style.strokeWidth = link.up ? (1.2 + 2.4 * Math.sqrt(total / most)).toFixed(2) : '';
    g.querySelector('title').textContent = linkWords(link);
  }

  const linkWords = l => l.a + ' – ' + l.b + (l.up ? ': ' + short(l.packets[0]) + ' → ' + short(l.packets[1]) + ' ← packets/s, '
    + short(l.bits[0]) + ' → ' + short(l.bits[1]) + ' ← bits/s' : ': down');

  function paint() {
    seen = performance.now();
    const all = Object.values(state.nodes), sessions = all.flatMap(n => n.sessions);
    put('n-nodes', all.filter(n => n.state === 'running').length + ' of ' + all.length);
    put('n-sessions', sessions.filter(s => s.up).length + ' of ' + sessions.length);
    put('n-faults', String(state.faults.length));
    document.title = (all.some(n => n.health !== 'up') || state.faults.length ? '! ' : '') + state.lab + ' - fairhop lab view';
    put('n-rate', short(state.links.reduce((sum, l) => sum + l.packets[0] + l.packets[1], 0)));
    for (const [name, g] of nodes) paintNode(name, g);
    const most = Math.max(1000, ...state.links.map(l => l.packets[0] + l.packets[1]));
    for (const link of state.links) paintLink(link, most);
    fill('faults', state.faults.map(f => { const li = el('li'); li.append(el('b', f.name), ' ', f.text === f.name ? '' : f.text); return li; }), 'none');
    fill('changes', state.changes.map(c => {
      const li = el('li'); li.append(el('span', age(c.age) + ' ago', 'when'), el('b', c.router), ' ' + c.prefix + ' via ' + (c.hops.join(', ') || 'nothing')); return li;
    }), 'none since this page was started');
    const busy = [...state.links].sort((x, y) => (x.up - y.up) || (y.packets[0] + y.packets[1] - x.packets[0] - x.packets[1]));
    fill('links', busy.map(l => row([l.a + ' – ' + l.b, l.up ? short(l.packets[0]) + ' → ' + short(l.packets[1]) + ' ←' : el('span', 'down', 'bad'),
      l.up ? short(l.bits[0]) + ' → ' + short(l.bits[1]) + ' ←' : '', spark(l.history)])), 'no links');
    const rows = Object.entries(state.nodes).flatMap(([name, n]) => n.sessions.map(s => ({ name, s, asked: n.sessions_age })));
    rows.sort((x, y) => x.s.up - y.s.up);
    fill('sessions', rows.map(r => row([r.name, r.s.peer_node || r.s.peer, el('span', r.s.state, r.s.up ? 'good' : 'bad'), r.s.prefixes, age(r.s.age)])), 'none told yet');
    $('problems').replaceChildren(...state.problems.slice(0, 5).map(p => el('p', p)));
    if (open) detail(open);
    fresh();
  }

  function fresh() {
    const silent = (performance.now() - seen) / 1000;
    const chip = $('freshness'), stale = !state || silent > 5;
    chip.classList.toggle('fresh', !stale); chip.classList.toggle('stale', stale && !!state);
    put('freshness', !state ? 'connecting' : stale ? 'no news for ' + silent.toFixed(0) + ' s' : 'live');
  }

  function table(head, rows) {
    const made = el('table'), line = el('tr');
    for (const h of head) { const th = el('th', h); th.scope = 'col'; line.append(th); }
    made.append(el('thead'), el('tbody')); made.tHead.append(line); made.tBodies[0].append(...rows);
    return made;
  }

  function detail(name) {
    const node = state && state.nodes[name];
    put('detail-name', name);
    if (!node) { $('detail-body').replaceChildren(el('p', 'nothing is known of this node')); return; }
    const parts = [el('p', node.state + (node.health === 'degraded' ? ': a link or a session is down' : ''), node.health === 'up' ? 'good' : 'bad')];
    for (const f of state.faults.filter(f => (f.nodes || []).includes(name))) parts.push(el('p', '⚡ ' + f.text));
    const ports = Object.entries(node.interfaces).map(([port, i]) => row([port, el('span', i.up ? 'up' : 'down', i.up ? 'good' : 'bad'),
      short(i.rx_packets), short(i.tx_packets), short(i.rx_bits), short(i.tx_bits)]));
    parts.push(el('h3', 'Interfaces'), table(['interface', 'state', 'packets/s in', 'out', 'bits/s in', 'out'], ports));
    if (node.sessions.length) parts.push(el('h3', 'BGP sessions, asked ' + age(node.sessions_age) + ' ago'),
      table(['peer', 'address', 'state', 'prefixes', 'since'], node.sessions.map(s => row([s.peer_node || '-', s.peer, el('span', s.state, s.up ? 'good' : 'bad'), s.prefixes, age(s.age)]))));
    if (node.sessions_problem) parts.push(el('p', 'sessions: ' + node.sessions_problem, 'bad'));
    $('detail-body').replaceChildren(...parts);
  }

  function show(name) {
    open = name; $('detail').hidden = false; detail(name);
    for (const [other, g] of nodes) g.classList.toggle('chosen', other === name);
    near(name); $('detail-name').focus();
  }
  function hide() {
    const name = open; open = null; $('detail').hidden = true;
    for (const g of nodes.values()) g.classList.remove('chosen');
    near(null);
    if (name) choose(nodes.get(name));
  }
  const near = name => { for (const g of links.values()) g.classList.toggle('near', !!name && [g.dataset.a, g.dataset.b].some(end => end.startsWith(name + ':'))); };
  function choose(g) {
    for (const other of nodes.values()) other.setAttribute('tabindex', other === g ? 0 : -1);
    g.focus();
  }
  function middle(g) { const r = g.querySelector('.box').getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; }
  function toward(g, dx, dy) {
    const [x, y] = middle(g); let best = null, least = Infinity;
    for (const other of nodes.values()) {
      if (other === g || other.classList.contains('dim')) continue;
      const [ox, oy] = middle(other), along = (ox - x) * dx + (oy - y) * dy, aside = Math.abs((ox - x) * dy + (oy - y) * dx);
      if (along < 4) continue;
      const far = along + aside * (dx ? 6 : 0.6);
      if (far < least) { least = far; best = other; }
    }
    return best;
  }

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey || $('help').open) return;
    const typing = e.target === $('search'), g = e.target.closest && e.target.closest('.node');
    if (e.key === 'Escape') { if (typing) { $('search').value = ''; search(); choose(first()); } else if (open) hide(); return; }
    if (typing) { if (e.key === 'Enter' && first()) { e.preventDefault(); choose(first()); } return; }
    if (e.key === '/') { e.preventDefault(); $('search').focus(); $('search').select(); }
    else if (e.key === '?') { e.preventDefault(); $('help').showModal(); }
    else if (g && arrows[e.key]) { e.preventDefault(); const to = toward(g, ...arrows[e.key]); if (to) choose(to); }
    else if (g && (e.key === 'Enter' || e.key === ' ')) { e.preventDefault(); show(g.dataset.node); }
  });
  const first = () => [...nodes.values()].find(g => !g.classList.contains('dim'));
  function search() {
    const words = $('search').value.trim().toLowerCase();
    const match = name => name.toLowerCase().includes(words);
    for (const [name, g] of nodes) g.classList.toggle('dim', !match(name));
    for (const g of links.values()) g.classList.toggle('dim', !!words && ![g.dataset.a, g.dataset.b].some(match));
  }
  $('search').addEventListener('input', search);
  $('help-button').addEventListener('click', () => $('help').showModal());
  $('detail-close').addEventListener('click', hide);
  for (const [name, g] of nodes) g.addEventListener('click', () => show(name));
  setInterval(fresh, 1000);

  (async () => {
    for (;;) {
      try {
        const answer = await fetch('state.json?after=' + number, { cache: 'no-store' });
        if (!answer.ok) throw new Error(answer.status);
        const next = await answer.json();
        if (next.nodes && next.number !== number) { state = next; paint(); }
        number = next.number;
      } catch { fresh(); await new Promise(wake => setTimeout(wake, 1000)); }
    }
  })();
})();
