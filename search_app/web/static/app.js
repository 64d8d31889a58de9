// What scripts add to pages that work without them: keys, Japanese input, announcements.
"use strict";

(() => {
  const box = () => document.getElementById("q");
  const links = () => [...document.querySelectorAll("[data-hit] .hit-title a")];

  // --- Japanese input -------------------------------------------------------------------------
  // Enter that ends a composition chooses a word and must not search. Browsers disagree on the
  // order: some end the composition before the key arrives, and say so only by key code 229.
  const IME_KEY_CODE = 229;
  let composing = false;

  document.addEventListener("compositionstart", () => {
    composing = true;
  });
  document.addEventListener("compositionend", () => {
    setTimeout(() => {
      composing = false;
    });
  });

  const isComposing = (event) =>
    composing || event.isComposing || event.keyCode === IME_KEY_CODE;

  document.addEventListener(
    "submit",
    (event) => {
      if (composing && event.target.id === "search") {
        event.preventDefault();
        event.stopImmediatePropagation();
      }
    },
    true,
  );

  // --- Keys -----------------------------------------------------------------------------------
  const isTyping = (target) =>
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName));

  const move = (step) => {
    const all = links();
    if (all.length === 0) return false;
    const current = document.activeElement?.closest("[data-hit]");
    const place = all.findIndex((link) => current?.contains(link));
    const next = place < 0 ? (step > 0 ? 0 : all.length - 1) : place + step;
    if (next < 0) {
      box()?.focus();
      return true;
    }
    all[Math.min(next, all.length - 1)].focus();
    return true;
  };

  const inBox = (event) => {
    if (event.key === "Escape") {
      if (event.target.value === "") event.target.blur();
      event.target.value = "";
      return true;
    }
    return event.key === "ArrowDown" && move(1);
  };

  const onHit = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    return step !== undefined && event.target.closest("[data-hit]") && move(step);
  };

  const anywhere = (event) => {
    if (event.key === "/") {
      box()?.focus();
      box()?.select();
      return box() !== null;
    }
    const step = { j: 1, k: -1 }[event.key];
    return (step !== undefined && move(step)) || onHit(event);
  };

  document.addEventListener("keydown", (event) => {
    if (isComposing(event)) {
      if (event.key === "Enter" && event.target === box()) event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const done = event.target === box() ? inBox(event) : !isTyping(event.target) && anywhere(event);
    if (done) event.preventDefault();
  });

  // --- Ways to search, and verdicts -------------------------------------------------------------
  document.addEventListener("change", (event) => {
    const { name, form } = event.target;
    if (name === "mode" && form?.id === "search" && box().value.trim() !== "") form.requestSubmit();
  });

  const press = (form, verdict) => {
    for (const button of form.querySelectorAll("button[data-says]")) {
      const pressed = button.dataset.says === verdict;
      button.ariaPressed = String(pressed);
      // Pressing it again takes it back.
      button.value = pressed ? "0" : button.dataset.says;
    }
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("verdict" in form.dataset) || !event.submitter) return;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form, event.submitter));
    const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(
      () => null,
    );
    if (answer?.ok || answer?.type === "opaqueredirect") {
      press(form, body.get("verdict"));
      return;
    }
    // Let the browser send it and show what is wrong.
    const said = document.createElement("input");
    Object.assign(said, { type: "hidden", name: "verdict", value: body.get("verdict") });
    form.append(said);
    form.submit();
  });

  // --- Swapped results ------------------------------------------------------------------------
  let filtersOpen = false;

  document.addEventListener("htmx:before:swap", () => {
    filtersOpen = document.getElementById("filters")?.open ?? filtersOpen;
  });

  document.addEventListener("htmx:after:swap", () => {
    const filters = document.getElementById("filters");
    if (filters && filtersOpen) filters.open = true;
    const count = document.getElementById("count") ?? document.querySelector("#results .notice h2");
    const announce = document.getElementById("announce");
    if (announce) announce.textContent = count?.textContent.replace(/\s+/g, " ").trim() ?? "";
  });

  document.addEventListener("htmx:before:request", (event) => {
    document.getElementById("results")?.setAttribute("aria-busy", "true");
    // The on-screen keyboard would cover what was found.
    if (event.target.id === "search" && matchMedia("(pointer: coarse)").matches) box()?.blur();
  });

  document.addEventListener("htmx:finally:request", () => {
    document.getElementById("results")?.removeAttribute("aria-busy");
  });

  // No answer at all: leave it to the browser to say so, and to offer to try again.
  document.addEventListener("htmx:error", (event) => {
    const action = event.detail?.ctx?.request?.action;
    if (action && event.target.matches("form, a")) location.assign(action);
  });
})();
