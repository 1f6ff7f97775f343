// Marks of a figure tell what they stand for: under the pointer, under a finger, and with the arrow keys. A figure that
// has such marks is an SVG in the page (class ssrobust-drawing); each mark is a circle with a <title>. Without this
// script the browser shows the titles under a pointer.
(() => {
  "use strict";
  const REACH = 22; // CSS pixels from a mark within which a pointer means it
  const HINT = "Use the arrow keys to read the single values.";
  const tip = document.createElement("div");
  tip.className = "ssrobust-tip";
  tip.setAttribute("aria-hidden", "true");
  tip.hidden = true;
  let shown = null;

  const hide = () => {
    if (shown) shown.classList.remove("ssrobust-shown");
    shown = null;
    tip.hidden = true;
  };

  const show = (mark) => {
    if (mark === shown) return;
    hide();
    shown = mark;
    mark.classList.add("ssrobust-shown");
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    place();
  };

  const place = () => {
    const box = shown.getBoundingClientRect();
    const left = Math.min(Math.max(box.left + box.width / 2 - tip.offsetWidth / 2, 4), innerWidth - tip.offsetWidth - 4);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };

  const nearest = (svg, marks, event) => {
    const to = svg.getScreenCTM();
    let best = null, least = REACH;
    for (const mark of marks) {
      const x = to.a * mark.cx.baseVal.value + to.e, y = to.d * mark.cy.baseVal.value + to.f;
      const distance = Math.hypot(x - event.clientX, y - event.clientY);
      if (distance < least) [best, least] = [mark, distance];
    }
    return best;
  };

  const prepare = (svg) => {
    const marks = Array.from(svg.querySelectorAll(".ssrobust-marks circle"));
    if (!marks.length) return;
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", title.textContent);
      mark.setAttribute("tabindex", "-1");
      title.remove(); // else the browser shows it beside the tip
      mark.addEventListener("focus", () => show(mark));
      mark.addEventListener("blur", hide);
    }
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")} ${HINT}`);
    let current = 0;
    const go = (to) => {
      marks[current].setAttribute("tabindex", "-1");
      current = Math.min(Math.max(to, 0), marks.length - 1);
      marks[current].setAttribute("tabindex", "0");
    };
    go(0);
    svg.addEventListener("keydown", (event) => {
      const steps = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -marks.length, End: marks.length};
      if (event.key === "Escape") hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      go(current + steps[event.key]);
      marks[current].focus();
    });
    const point = (event) => {
      const mark = nearest(svg, marks, event);
      if (mark) show(mark);
      else hide();
    };
    svg.addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") point(event); });
    svg.addEventListener("pointerup", point);
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); });
    svg.addEventListener("mousedown", (event) => event.preventDefault()); // a click is no focus: the tip follows the pointer
  };

  const start = () => {
    const drawings = document.querySelectorAll("svg.ssrobust-drawing");
    if (!drawings.length) return;
    document.body.append(tip);
    drawings.forEach(prepare);
    // going to a mark by keyboard may scroll the page: its tip goes along
    const moved = () => { if (shown && shown === document.activeElement) place(); else hide(); };
    addEventListener("scroll", moved, {passive: true});
    addEventListener("resize", moved);
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest("svg.ssrobust-drawing")) hide();
    });
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
