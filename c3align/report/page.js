"use strict";
// The page is whole without this. It adds words at the pointer, and one picture that moves from before to after.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);

  // a <title> of a mark would show a second, slower tip
  for (const title of document.querySelectorAll("svg path > title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }

  const show = (event) => {
    const mark = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, event.clientX - box.width / 2), document.documentElement.clientWidth - box.width - 8);
    const above = event.clientY - box.height - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : event.clientY + 18}px`;
  };
  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, show);
  for (const kind of ["scroll", "pointerleave"]) document.addEventListener(kind, () => { tip.hidden = true; }, { passive: true });

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const place = (mark) => mark.transform.baseVal.getItem(0).matrix;

  // marks of `to` start where those of `from` are and go to their own places
  const travel = (from, to) => {
    const [old, own] = [from, to].map((panel) => [...panel.querySelectorAll(".dots > path, .marks > path")]);
    if (still.matches || !own.length || old.length !== own.length) return;
    const ways = own.map((mark, i) => {
      const [a, b] = [place(old[i]), place(mark)];
      return [mark, a.e, a.f, b.e, b.f];
    });
    const begin = performance.now();
    const step = (now) => {
      const t = Math.min(1, (now - begin) / 900);
      const s = t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2;
      for (const [mark, x, y, u, v] of ways) mark.setAttribute("transform", `translate(${x + s * (u - x)} ${y + s * (v - y)})`);
      if (t < 1) requestAnimationFrame(step);
    };
    step(begin);
  };

  for (const figure of document.querySelectorAll("figure.wide")) {
    const panels = [...figure.querySelectorAll(".panel")];
    const group = document.createElement("div");
    group.className = "pick";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Which state to show");
    const choose = (chosen) => {
      const shown = panels.filter((panel) => !panel.hidden);
      panels.forEach((panel, k) => { panel.hidden = chosen !== null && chosen !== k; });
      figure.classList.toggle("one", chosen !== null);
      [...group.children].forEach((button, k) => button.setAttribute("aria-pressed", String(k - 1 === (chosen ?? -1))));
      if (chosen !== null && shown.length === 1 && shown[0] !== panels[chosen]) travel(panels[1 - chosen], panels[chosen]);
    };
    ["Both", "Before", "After"].forEach((word, k) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = word;
      button.addEventListener("click", () => choose(k ? k - 1 : null));
      group.append(button);
    });
    figure.querySelector(".panels").before(group);
    choose(null);
  }
})();
