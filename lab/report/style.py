"""How the report looks: colours for light and dark that colour-blind people can tell apart, print, and the only script.

The colours of data are Okabe and Ito's, lighter in the dark. No colour stands alone: shapes, words or places say the same.
"""

COLOURS = """
:root{--bg:#fbfbfa;--card:#fff;--ink:#1c2127;--soft:#5b6570;--line:#d8dce0;--grid:#e9ecee;--shade0:#f1f4f7;--shade1:#e3e9ef;
--pass:#00694c;--pass-bg:#e2f3ec;--fail:#a63c00;--fail-bg:#fdeadf;--blue:#0072b2;--orange:#b87400;--green:#00795a;
--red:#c44e00;--purple:#a04a7f;--sky:#2b85bb;--grey:#6a737d;--fault:#b87400;--fault-bg:#fbe6bf;--wire:#a5afb9;
--transit:#6a5acd;--router:#0072b2;--edge:#c44e00;--proxy:#a04a7f;--backend:#00795a;--client:#6a737d;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1b1f24;--ink:#e6e9ec;--soft:#a3adb7;--line:#343b43;--grid:#262c32;
--shade0:#20262c;--shade1:#2a323b;--pass:#5bd1a8;--pass-bg:#12332a;--fail:#ff9a62;--fail-bg:#40210f;--blue:#5ab4ea;--orange:#efb142;
--green:#45c79f;--red:#f58549;--purple:#dd8fbd;--sky:#8fcdf2;--grey:#9aa4ae;--fault:#efb142;--fault-bg:#4a3710;--wire:#56616c;
--transit:#a79bf5;--router:#5ab4ea;--edge:#f58549;--proxy:#dd8fbd;--backend:#45c79f;--client:#9aa4ae}}
"""

SHARED = """
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
svg.chart{display:block;width:100%;height:auto;overflow:visible;font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
svg text{fill:var(--ink)}
svg.topology{margin:0 auto}
.site{fill:var(--shade0);stroke:var(--line)}.site-name{fill:var(--soft);font-weight:600}
.wire{fill:none;stroke:var(--wire);stroke-width:1.3}
.box{fill:var(--card);stroke-width:1.3}.node-name{font-size:11.5px;font-weight:600}.node-role{font-size:9px;fill:var(--soft)}
rect.tier-transit{stroke:var(--transit)}rect.tier-router,rect.tier-spine{stroke:var(--router)}rect.tier-edge{stroke:var(--edge)}
rect.tier-proxy,rect.tier-store{stroke:var(--proxy)}rect.tier-backend{stroke:var(--backend)}rect.tier-client,rect.tier-other{stroke:var(--client)}
.stripe.tier-transit,.swatch.tier-transit{fill:var(--transit);background:var(--transit)}
.stripe.tier-router,.stripe.tier-spine,.swatch.tier-router{fill:var(--router);background:var(--router)}
.stripe.tier-edge,.swatch.tier-edge{fill:var(--edge);background:var(--edge)}
.stripe.tier-proxy,.stripe.tier-store,.swatch.tier-proxy,.swatch.tier-store{fill:var(--proxy);background:var(--proxy)}
.stripe.tier-backend,.swatch.tier-backend{fill:var(--backend);background:var(--backend)}
.stripe.tier-client,.stripe.tier-other,.swatch.tier-client,.swatch.tier-other{fill:var(--client);background:var(--client)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 0;color:var(--soft);font-size:12.5px}
.key{display:inline-flex;align-items:center;gap:6px}.swatch{width:11px;height:11px;border-radius:3px;display:inline-block}
.key svg{width:16px;height:16px;display:block}
"""

REPORT = """
main{max-width:1240px;margin:0 auto;padding:26px 24px 60px}
h1{font-size:25px;line-height:1.25;margin:0 0 4px}h2{font-size:17px;margin:0 0 12px}h3{font-size:14px;margin:22px 0 6px}
p{margin:0 0 8px}.soft,.note{color:var(--soft)}.note{font-size:12.5px;margin:6px 0 0}
section,header.card,details.run{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:0 0 16px}
details.run>summary{font-size:17px;font-weight:600;cursor:pointer}details.run[open]>summary{margin-bottom:8px}
.badge{display:inline-block;border-radius:6px;padding:1px 9px;font-weight:700;font-size:12.5px;white-space:nowrap;border:1px solid currentColor}
.pass{color:var(--pass);background:var(--pass-bg)}.fail{color:var(--fail);background:var(--fail-bg)}
.title{display:flex;gap:14px;align-items:flex-start}.title .badge{font-size:15px;padding:3px 12px;margin-top:2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:16px 0 0}
.tile{border:1px solid var(--line);border-radius:8px;padding:8px 12px}.tile b{display:block;font-size:19px;line-height:1.3;font-weight:650}
.tile span{color:var(--soft);font-size:12.5px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}caption{text-align:left;color:var(--soft);padding:0 0 4px}
th,td{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid var(--grid);vertical-align:top}
th{font-weight:600;color:var(--soft);border-bottom-color:var(--line);white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
tr.failed td{background:var(--fail-bg)}details.data{margin:8px 0 0}details.data>summary{cursor:pointer;color:var(--soft);font-size:12.5px}
.facts td:first-child{white-space:nowrap}nav.contents{margin:12px 0 0;display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px}a{color:var(--blue)}
.grid{stroke:var(--grid)}.axis{stroke:var(--soft)}.tick{stroke:var(--soft)}.tick-label,svg .axis-title{fill:var(--soft)}svg .tick-label{font-size:10px}
.lane{stroke:var(--line);stroke-dasharray:1 3}svg .lane-name{fill:var(--soft)}
.shade-0{fill:var(--shade0)}.shade-1{fill:var(--shade1)}
.step rect{fill:var(--shade0);stroke:var(--soft);stroke-width:.8}.step-1 rect{fill:var(--shade1)}.step-failed rect{fill:var(--fail-bg);stroke:var(--fail)}
.step-name{font-weight:600}.step-failed .step-name{fill:var(--fail)}
.fault rect{fill:var(--fault-bg);stroke:var(--fault)}
.mark{stroke:var(--card);stroke-width:.8}.mark-circle{fill:var(--orange)}.mark-diamond{fill:var(--red)}.mark-triangle{fill:var(--purple)}
.mark-square{fill:var(--blue)}.mark-cross{stroke:var(--red);stroke-width:2.2;fill:none}.mark-down{fill:var(--sky)}.mark-star{fill:var(--fail)}.mark-hexagon{fill:var(--grey)}
.route rect{fill:var(--blue)}.route-none rect{fill:var(--red)}
.series{fill:none;stroke:var(--blue);stroke-width:1.4;stroke-linejoin:round}.area{fill:var(--blue);opacity:.16}.catch{fill:transparent}
.failed-bar{fill:var(--red)}.bound{stroke:var(--fail);stroke-width:2}svg .bound-name{fill:var(--fail);font-weight:600}
.curve polyline{fill:none;stroke-width:1.8}.curve{--c:var(--blue)}.colour-1{--c:var(--purple)}.colour-2{--c:var(--green)}.colour-3{--c:var(--orange)}.colour-4{--c:var(--red)}.colour-5{--c:var(--grey)}
.curve polyline{stroke:var(--c)}.curve circle{fill:var(--c)}.colour-1 polyline{stroke-dasharray:7 3}.colour-2 polyline{stroke-dasharray:2 3}.colour-3 polyline{stroke-dasharray:9 3 2 3}.colour-4 polyline{stroke-dasharray:4 2}
i.curve{background:var(--c)}.beside{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:24px;align-items:start}
@media(max-width:860px){.beside{grid-template-columns:1fr}}
#tip{position:fixed;z-index:9;max-width:420px;background:var(--ink);color:var(--bg);border-radius:6px;padding:5px 9px;font-size:12px;pointer-events:none}
@media print{body{background:#fff;font-size:11px}main{max-width:none;padding:0}section,header.card,details.run{border:0;padding:0 0 8px;margin:0 0 8px}
svg.chart,tr,.tile,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}#tip,nav.contents{display:none}a{color:inherit}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

# Arrows move along the symbols of a lane (Tab goes from lane to lane), and hover text also shows on focus. Without the
# script everything is still there: titles on hover, tables below.
SCRIPT = """
(()=>{const tip=document.createElement('div');tip.id='tip';tip.hidden=true;document.body.append(tip);
const show=g=>{const t=g.querySelector('title');if(!t)return;tip.textContent=t.textContent;tip.hidden=false;
const r=g.getBoundingClientRect(),w=tip.offsetWidth,h=tip.offsetHeight;
tip.style.left=Math.max(4,Math.min(innerWidth-w-4,r.left+Math.min(r.width,60)/2-w/2))+'px';tip.style.top=(r.top>h+10?r.top-h-6:r.bottom+6)+'px'};
document.addEventListener('focusin',e=>{const g=e.target.closest('svg [tabindex]');g?show(g):tip.hidden=true});
document.addEventListener('focusout',()=>tip.hidden=true);
document.addEventListener('keydown',e=>{const g=e.target.closest&&e.target.closest('svg [tabindex]');if(!g)return;
if(e.key==='Escape'){tip.hidden=true;return}
const way={ArrowRight:1,ArrowLeft:-1,Home:-1e9,End:1e9}[e.key];if(!way)return;
const all=[...g.parentNode.children].filter(n=>n.hasAttribute('tabindex')),at=all.indexOf(g);
const to=all[Math.max(0,Math.min(all.length-1,at+way))];e.preventDefault();
if(to!==g){g.setAttribute('tabindex',-1);to.setAttribute('tabindex',0);to.focus()}});
addEventListener('beforeprint',()=>{for(const d of document.querySelectorAll('details.run'))d.open=true})})();
"""
