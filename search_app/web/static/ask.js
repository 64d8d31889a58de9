// What scripts add to the page that answers questions: the answer while it is written, and a stop.
"use strict";

(() => {
  const form = document.getElementById("ask");
  const box = document.getElementById("q");
  const conversation = document.getElementById("conversation");
  const trouble = document.getElementById("trouble");
  const send = document.getElementById("send");
  const stop = document.getElementById("stop");
  const said = form.dataset;
  const SLOW_MS = 8000;
  let running = null;
  let slow = 0;
  let address = location.pathname;

  const announce = (text) => {
    document.getElementById("announce").textContent = text;
  };

  const busy = (on) => {
    const focused = document.activeElement;
    send.hidden = on;
    stop.hidden = !on;
    document.getElementById("progress").classList.toggle("htmx-request", on);
    // A hidden button would take the focus away with it.
    if (on && focused === send) stop.focus();
    if (!on && focused === stop) box.focus();
  };

  const goTo = (place) => {
    if (!place) return;
    history.replaceState(null, "", place);
    address = place;
  };

  // --- What arrives -----------------------------------------------------------------------------
  const swap = (html) => {
    const open = [...conversation.querySelectorAll("details[open]")].map((each) => each.id);
    const focused = conversation.contains(document.activeElement) ? document.activeElement.id : "";
    conversation.innerHTML = html;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };

  const watch = () => {
    clearTimeout(slow);
    slow = setTimeout(() => {
      const text = document.getElementById("writing-text");
      if (text) text.textContent = said.slow;
      announce(said.slow);
    }, SLOW_MS);
  };

  const note = (text) => {
    const writing = document.getElementById("writing");
    if (!writing) return;
    const told = document.createElement("p");
    Object.assign(told, { className: "answer-note", textContent: text });
    told.setAttribute("role", "note");
    document.getElementById("said").append(told);
    writing.remove();
  };

  const add = ({ html, begins }) => {
    const place = document.getElementById("said");
    const last = place.lastElementChild;
    if (begins || !last?.matches(".paragraph")) {
      place.insertAdjacentHTML("beforeend", html);
      return;
    }
    const holder = document.createElement("template");
    holder.innerHTML = html;
    last.append(...holder.content.querySelector("p").childNodes);
  };

  const handlers = {
    retrieved: ({ html, address: place }) => {
      // Nothing of the conversation before is open or focused in the new one.
      conversation.innerHTML = html;
      box.value = "";
      box.placeholder = said.follow;
      document.getElementById("anew").hidden = false;
      document.title = `${document.getElementById("turn").dataset.title} — Unmoved`;
      conversation.dataset.address = place;
      announce(said.found);
    },
    sentence: add,
    failed: ({ html }) =>
      document.getElementById("notices").insertAdjacentHTML("beforeend", html),
    done: ({ html, address: place }) => {
      swap(html);
      goTo(place);
      announce(said.complete);
    },
    error: ({ html }) => {
      trouble.innerHTML = html;
      document.getElementById("writing")?.remove();
    },
  };

  const take = (block) => {
    const lines = block.split("\n");
    const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
    const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
    if (!(name in handlers)) return false;
    handlers[name](JSON.parse(data));
    watch();
    return name === "done" || name === "error";
  };

  const read = async (body) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    let ended = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return ended;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) ended = take(block) || ended;
    }
  };

  // What was written so far goes along with a follow-up.
  const keepWritten = () => {
    const texts = [...document.querySelectorAll("#said [data-text]")];
    const carried = document.getElementById("answered");
    if (carried) carried.value = texts.map((each) => each.textContent).join(" ");
  };

  const brokenOff = (text) => {
    keepWritten();
    note(text);
    announce(text);
  };

  const ask = async () => {
    running = new AbortController();
    trouble.replaceChildren();
    const body = new FormData(form);
    delete conversation.dataset.address;
    busy(true);
    announce(said.searching);
    watch();
    // The on-screen keyboard would cover the answer.
    if (matchMedia("(pointer: coarse)").matches) box.blur();
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body,
        headers: { Accept: "text/event-stream" },
        signal: running.signal,
      });
      if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        // Let the browser send it and show what is wrong.
        form.submit();
        return;
      }
      if (!(await read(answer.body))) lost();
    } catch {
      if (running.signal.aborted) {
        brokenOff(said.stopped);
        goTo(conversation.dataset.address);
      } else {
        lost();
      }
    } finally {
      clearTimeout(slow);
      running = null;
      busy(false);
    }
  };

  const lost = () => {
    brokenOff(said.lost);
    const told = document.createElement("p");
    Object.assign(told, { className: "notice notice-problem", textContent: said.lost });
    told.setAttribute("role", "alert");
    trouble.replaceChildren(told);
  };

  // --- What is pressed --------------------------------------------------------------------------
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running === null && box.value.trim() !== "") ask();
  });

  stop.addEventListener("click", () => running?.abort());

  document.addEventListener("keydown", (event) => {
    // Enter that only ends a composition was prevented by app.js, which hears of it first.
    if (event.target !== box || event.key !== "Enter" || event.defaultPrevented) return;
    if (event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });

  conversation.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const target = link && document.getElementById(link.hash.slice(1));
    const closed = target?.closest("details:not([open])");
    if (closed) closed.open = true;
    target?.focus({ preventScroll: true });
  });

  addEventListener("popstate", () => {
    if (location.pathname !== address) location.reload();
  });
})();
