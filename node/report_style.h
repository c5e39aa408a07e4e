// The page's CSS. Colours are variables: light by default, dark where the reader's system asks for it. Text has a contrast of at least
// 4.5:1 and lines of at least 3:1 against the paper; what must be told apart differs in dash or label too, never in colour alone.
#pragma once

namespace templar::html {

inline constexpr const char* style_sheet = R"css(
:root{color-scheme:light dark;
--paper:#fff;--raised:#f6f7f9;--ink:#15181d;--soft:#59616d;--hair:#e4e7eb;--shade:#cfd4da;--grid:#eceef1;--axis:#a3abb5;--rule:#6b7380;
--m0:#0067b1;--m1:#00856a;--m2:#8a48a8;--m3:#38445a;--m4:#2f8fcc;--m5:#5a8200;
--copycat:#c8470a;--noise:#9a6a00;--good:#00735c;--good-paper:#e9f6f2;--bad:#b3001b;--bad-paper:#fdecee;
--on:#fff;--p0:#0067b1;--p1:#00795f;--p2:#38445a;--p3:#b94a0c;--p4:#7f4aa3;--p5:#866000;--p6:#a8325e;--pw:#dfe3e8;--on-wait:#454c57}
@media (prefers-color-scheme:dark){:root{
--paper:#101317;--raised:#181c22;--ink:#e9ebee;--soft:#a2aab5;--hair:#2a3038;--shade:#3a424c;--grid:#20252c;--axis:#5d6672;--rule:#9aa3af;
--m0:#5aaef5;--m1:#35c9a4;--m2:#c99af0;--m3:#c3ccd9;--m4:#94d6ff;--m5:#abd14f;
--copycat:#ff8f55;--noise:#e6ba4b;--good:#4fd0ad;--good-paper:#12271f;--bad:#ff8b94;--bad-paper:#34161b;
--on:#0d1014;--p0:#5aaef5;--p1:#3fc6a3;--p2:#b4bfce;--p3:#ff9a62;--p4:#c79bee;--p5:#dcb54e;--p6:#f08bb0;--pw:#2b323b;--on-wait:#bcc4cf}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:1048px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:2.1rem;line-height:1.15;letter-spacing:-.02em;margin:0 0 12px}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:60px 0 4px;padding-top:20px;border-top:1px solid var(--hair)}
h3{font-size:1rem;margin:0;line-height:1.35}
p{margin:0 0 12px;max-width:76ch;text-wrap:pretty}
.lead{font-size:1.1rem;max-width:64ch}
.soft,.note,figcaption p{color:var(--soft)}
.note,figcaption p{font-size:.9rem;margin:2px 0 12px}
code,.hex{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em}
.hex{word-break:break-all}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:0 28px;margin:28px 0 24px}
.tile{border-top:2px solid var(--ink);padding:10px 0 14px}
.tile b{display:block;font-size:1.7rem;line-height:1.2;font-weight:650;letter-spacing:-.02em;margin:2px 0;overflow-wrap:normal}
.tile small,.tile span{display:block;font-size:.86rem;color:var(--soft);line-height:1.4}
.tile span{color:var(--ink);font-weight:600}
.verdict{border-left:4px solid;border-radius:2px;padding:12px 16px;margin:20px 0}
.verdict p{margin:4px 0 0;max-width:none}
.verdict strong{font-size:1.05rem}
.good{border-color:var(--good);background:var(--good-paper)}
.good strong{color:var(--good)}
.bad{border-color:var(--bad);background:var(--bad-paper);border-left-width:8px}
.bad strong{color:var(--bad);font-size:1.3rem}
.bad table{margin-top:8px}
dl.facts{display:grid;grid-template-columns:repeat(4,1fr);gap:14px 28px;margin:0;font-size:.92rem}
dl.facts div{min-width:0}
dl.facts div.long{grid-column:span 2}
dt{color:var(--soft);font-size:.82rem}
dd{margin:0}
figure{margin:20px 0 0;min-width:0}
figure svg{display:block;width:100%;height:auto}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:8px 40px}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(215px,1fr));gap:20px 24px;margin-top:12px}
.panels svg{display:block;width:100%;height:auto;max-width:290px}
.mid,.slim{display:none}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:6px 22px;padding:0;margin:14px 0 0;font-size:.9rem}
.legend li{display:flex;align-items:center;gap:8px}
.legend small{color:var(--soft)}
.swatch{width:30px;height:10px;flex:none}
.box{width:12px;height:12px;flex:none}
td .swatch{vertical-align:middle;margin-right:8px}
.scroll{overflow-x:auto;margin:14px 0 0;background:linear-gradient(to right,var(--paper) 40%,transparent) 0 0/48px 100% no-repeat local,
linear-gradient(to left,var(--paper) 40%,transparent) 100% 0/48px 100% no-repeat local,linear-gradient(to right,var(--shade),transparent) 0 0/12px 100% no-repeat scroll,
linear-gradient(to left,var(--shade),transparent) 100% 0/12px 100% no-repeat scroll}
.verdict .scroll{background:none}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--m0);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.88rem;overflow-wrap:normal}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.8rem;vertical-align:bottom;line-height:1.3}
th,td{padding:7px 14px 7px 0;border-bottom:1px solid var(--hair);white-space:nowrap;vertical-align:baseline}
td.wrap{white-space:normal;min-width:260px;overflow-wrap:anywhere}
th.r,td.r{text-align:right}
th:last-child,td:last-child{padding-right:2px}
tbody tr:hover{background:var(--raised)}
.share{display:inline-block;width:72px;height:8px;margin-right:10px;background:var(--grid);border-radius:2px;vertical-align:1px}
.share+b{display:inline-block;min-width:3.6em;font-weight:400}
.share i{display:block;height:100%;background:var(--c,var(--soft));border-radius:2px}
details{margin-top:14px}
summary{cursor:pointer;color:var(--soft);font-size:.92rem}
pre{background:var(--raised);border-radius:4px;padding:12px 16px;overflow-x:auto;margin:10px 0;font-size:.92rem}
.t{font-size:12px;fill:var(--ink);font-family:inherit}
.tick,.axis-title,.total,.rule-label{fill:var(--soft)}
.strong{font-weight:650}
.e{text-anchor:end}
.m{text-anchor:middle}
.grid,.axis,.leader,.hair{fill:none;stroke:var(--grid);stroke-width:1}
.axis{stroke:var(--axis)}
.leader{stroke:var(--axis);stroke-width:.8}
.rule{fill:none;stroke:var(--rule);stroke-width:1.4;stroke-dasharray:1 4;stroke-linecap:round}
.line{fill:none;stroke:var(--c,var(--soft));stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dot{fill:var(--c,var(--soft))}
.area{fill:var(--c,var(--soft));opacity:.2}
.ordinal{fill:none;stroke:var(--soft);stroke-width:1;stroke-linecap:round}
.m0{--c:var(--m0)}.m1{--c:var(--m1)}.m2{--c:var(--m2)}.m3{--c:var(--m3)}.m4{--c:var(--m4)}.m5{--c:var(--m5)}
.copycat{--c:var(--copycat)}
.noise{--c:var(--noise)}
.other{--c:var(--axis)}
.line.copycat{stroke-dasharray:8 5}
.line.noise{stroke-dasharray:.1 5;stroke-width:2.8}
.line.other{stroke-width:.8;opacity:.7}
.heldout{--c:var(--m0)}
.line.heldout{stroke-width:2.8}
.train{--c:var(--copycat)}
.line.train{stroke-width:1.6;stroke-dasharray:5 4}
.up{--c:var(--copycat)}
.line.up{stroke-dasharray:8 5}
.down{--c:var(--m0)}
.part{fill:var(--f)}
.on{fill:var(--on)}
.p0{--f:var(--p0)}.p1{--f:var(--p1)}.p2{--f:var(--p2)}.p3{--f:var(--p3)}.p4{--f:var(--p4)}.p5{--f:var(--p5)}.p6{--f:var(--p6)}.pw{--f:var(--pw)}
.on.pw{fill:var(--on-wait)}
.band rect{fill:transparent}
.hair{opacity:0;stroke:var(--rule)}
.band:hover .hair{opacity:1}
.mono{white-space:pre-wrap}
@media (max-width:979px){.wide{display:none}.mid{display:block}.pair{grid-template-columns:1fr}.pair figure{max-width:640px}
.tiles,dl.facts{grid-template-columns:1fr 1fr}}
@media (max-width:559px){.mid{display:none}.slim{display:block}main{padding:24px 16px 48px}h1{font-size:1.7rem}h2{margin-top:44px}
.lead{font-size:1.02rem}.tiles{gap:0 18px}.tile b{font-size:1.3rem}.panels{grid-template-columns:1fr 1fr;gap:16px 12px}.panels .t{font-size:15px}td.wrap{min-width:230px}
.share{width:44px}}
@media print{main{max-width:none;padding:0}details{display:none}}
)css";

}  // namespace templar::html
