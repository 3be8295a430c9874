// Arrows move along the symbols of a lane (Tab goes from lane to lane), and hover text also shows on focus. Without the
// script everything is still there: titles on hover, tables below.
'use strict';
(() => {
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  document.body.append(tip);
  const mark = e => e.target.closest && e.target.closest('svg [tabindex]');

  function show(g) {
    const title = g.querySelector('title');
    if (!title) return;
    tip.textContent = title.textContent;
    tip.hidden = false;
    const r = g.getBoundingClientRect(), w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(innerWidth - w - 4, r.left + Math.min(r.width, 60) / 2 - w / 2)) + 'px';
    tip.style.top = (r.top > h + 10 ? r.top - h - 6 : r.bottom + 6) + 'px';
  }
  document.addEventListener('focusin', e => { const g = mark(e); if (g) show(g); else tip.hidden = true; });
  document.addEventListener('focusout', () => { tip.hidden = true; });

  document.addEventListener('keydown', e => {
    const g = mark(e);
    if (!g) return;
    if (e.key === 'Escape') { tip.hidden = true; return; }
    const way = { ArrowRight: 1, ArrowLeft: -1, Home: -1e9, End: 1e9 }[e.key];
    if (!way) return;
    e.preventDefault();
    const lane = [...g.parentNode.children].filter(n => n.hasAttribute('tabindex'));
    const to = lane[Math.max(0, Math.min(lane.length - 1, lane.indexOf(g) + way))];
    if (to === g) return;
    g.setAttribute('tabindex', -1);
    to.setAttribute('tabindex', 0);
    to.focus();
  });
  addEventListener('beforeprint', () => { for (const d of document.querySelectorAll('details.run')) d.open = true; });
})();
