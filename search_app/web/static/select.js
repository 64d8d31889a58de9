// What scripts add to lists with boxes to tick: all of a page at once, and how many are ticked.
"use strict";

(() => {
  const boxes = (form) =>
    [...form.querySelectorAll("input[type=checkbox]")].filter((box) => !("selectAll" in box.dataset));

  const show = (form) => {
    const all = form.querySelector("[data-select-all]");
    const text = form.querySelector("[data-select-count]");
    const ticked = boxes(form).filter((box) => box.checked).length;
    if (all) {
      all.hidden = false;
      all.checked = ticked > 0 && ticked === boxes(form).length;
      all.indeterminate = ticked > 0 && !all.checked;
    }
    if (text) {
      text.hidden = ticked === 0;
      text.textContent = text.dataset.text.replace("{count}", ticked);
    }
    for (const button of form.querySelectorAll("button[name=action]")) button.disabled = ticked === 0;
  };

  const showAll = () => document.querySelectorAll("form[data-select]").forEach(show);

  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-select]");
    if (!form) return;
    if (event.target.matches("[data-select-all]")) {
      for (const box of boxes(form)) box.checked = event.target.checked;
    }
    show(form);
  });

  // Boxes that the browser ticks again after going back do not say so; lists are swapped in.
  addEventListener("pageshow", showAll);
  document.addEventListener("htmx:after:swap", showAll);
  showAll();
})();
