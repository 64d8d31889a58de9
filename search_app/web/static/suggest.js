// Suggestions while typing: a combobox after the ARIA practices. Without scripts it is not there.
"use strict";

(() => {
  const PAUSE_MS = 150;
  const LONGEST = 100;
  const IME_KEY_CODE = 229;

  let composing = false;
  let timer = 0;
  let request = null;
  let active = -1;

  const isBox = (element) => element instanceof HTMLInputElement && "suggest" in element.dataset;
  const list = () => document.getElementById("suggestions");
  const isOpen = () => list() !== null && !list().hidden;
  const options = () => [...(list()?.children ?? [])];

  const prepare = (box) => {
    if (list() !== null) return;
    const made = document.createElement("ul");
    made.id = "suggestions";
    made.className = "suggestions";
    made.role = "listbox";
    made.ariaLabel = box.dataset.label;
    made.translate = false;
    made.hidden = true;
    box.after(made);
    box.role = "combobox";
    box.ariaAutoComplete = "list";
    box.ariaExpanded = "false";
    box.setAttribute("aria-controls", made.id);
  };

  const stop = () => {
    clearTimeout(timer);
    request?.abort();
    request = null;
  };

  const close = (box) => {
    stop();
    active = -1;
    if (list() === null) return;
    list().hidden = true;
    list().replaceChildren();
    box.ariaExpanded = "false";
    box.removeAttribute("aria-activedescendant");
  };

  const option = (suggestion, place, kinds) => {
    const item = document.createElement("li");
    item.id = `suggestion-${place}`;
    item.role = "option";
    item.ariaSelected = "false";
    item.dataset.text = suggestion.text;
    const text = document.createElement("span");
    text.textContent = suggestion.text;
    const kind = document.createElement("span");
    kind.className = "suggestion-kind";
    kind.textContent = kinds[suggestion.kind] ?? "";
    item.append(text, " ", kind);
    return item;
  };

  const show = (box, suggestions) => {
    const kinds = JSON.parse(box.dataset.kinds);
    const typed = box.value.trim();
    const telling = suggestions.filter((suggestion) => suggestion.text !== typed);
    if (telling.length === 0) {
      close(box);
      return;
    }
    active = -1;
    box.removeAttribute("aria-activedescendant");
    list().replaceChildren(...telling.map((each, place) => option(each, place, kinds)));
    list().hidden = false;
    box.ariaExpanded = "true";
  };

  const ask = async (box) => {
    const typed = box.value.trim();
    const address = new URL(box.dataset.suggest, location.origin);
    address.searchParams.set("q", typed);
    const collection = box.form.elements.namedItem("collection")?.value;
    if (collection) address.searchParams.set("collection", collection);
    request = new AbortController();
    const { signal } = request;
    try {
      const response = await fetch(address, { signal });
      // Nobody asked for suggestions; where there are none, the box is an ordinary one.
      const found = response.ok ? (await response.json()).suggestions : [];
      if (!signal.aborted && document.activeElement === box) show(box, found);
    } catch (error) {
      if (!signal.aborted) close(box);
    }
  };

  const askSoon = (box) => {
    stop();
    const typed = box.value.trim();
    if (typed === "" || typed.length > LONGEST) close(box);
    else timer = setTimeout(() => ask(box), PAUSE_MS);
  };

  const activate = (box, place) => {
    const all = options();
    // One place more than there are: back in the box itself.
    active = ((place + 1 + all.length + 1) % (all.length + 1)) - 1;
    all.forEach((item, at) => (item.ariaSelected = String(at === active)));
    if (active < 0) {
      box.removeAttribute("aria-activedescendant");
    } else {
      box.setAttribute("aria-activedescendant", all[active].id);
      all[active].scrollIntoView({ block: "nearest" });
    }
  };

  const choose = (box, item) => {
    box.value = item.dataset.text;
    close(box);
    box.form.requestSubmit();
  };

  const keys = {
    ArrowDown: (box) => activate(box, active + 1),
    ArrowUp: (box) => activate(box, active - 1),
    Escape: (box) => close(box),
    Enter: (box) => active >= 0 && choose(box, options()[active]),
  };

  // Before the other keys of the page, which would leave the box or clear it.
  document.addEventListener(
    "keydown",
    (event) => {
      if (!isBox(event.target) || !isOpen()) return;
      if (composing || event.isComposing || event.keyCode === IME_KEY_CODE) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = keys[event.key];
      if (act === undefined || act(event.target) === false) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );

  document.addEventListener("compositionstart", (event) => {
    composing = true;
    if (isBox(event.target)) close(event.target);
  });
  document.addEventListener("compositionend", (event) => {
    composing = false;
    if (isBox(event.target)) askSoon(event.target);
  });
  document.addEventListener("input", (event) => {
    if (isBox(event.target) && !composing && !event.isComposing) askSoon(event.target);
  });
  document.addEventListener("focusin", (event) => {
    if (isBox(event.target)) prepare(event.target);
  });
  document.addEventListener("focusout", (event) => {
    if (isBox(event.target)) close(event.target);
  });
  document.addEventListener("submit", (event) => {
    const box = [...event.target.elements].find(isBox);
    if (box) close(box);
  });

  // Pressing the pointer would take the focus from the box, which closes the list.
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest("#suggestions")) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const item = event.target.closest("#suggestions > li");
    if (item) choose(item.parentElement.previousElementSibling, item);
  });

  document.querySelectorAll("[data-suggest]").forEach(prepare);
})();
