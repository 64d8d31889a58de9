// What scripts add to upload forms, which work without: dropping files, seeing what was chosen and
// how far the transfer is, and the job's progress in place. All texts come from the page.
"use strict";

(() => {
  const size = (bytes) => {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
    const step = bytes < 1 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
    return new Intl.NumberFormat(document.documentElement.lang, {
      style: "unit",
      unit: units[step],
      unitDisplay: "short",
      maximumFractionDigits: 1,
    }).format(bytes / 1000 ** step);
  };

  const listChosen = (form, input) => {
    const list = form.querySelector("[data-chosen]");
    list.replaceChildren(
      ...[...input.files].map((file) => {
        const item = document.createElement("li");
        const name = document.createElement("span");
        const amount = document.createElement("span");
        name.textContent = file.name;
        amount.textContent = size(file.size);
        amount.className = "muted";
        item.append(name, " ", amount);
        return item;
      }),
    );
    list.hidden = input.files.length === 0;
  };

  const showProblem = (outcome, text) => {
    const notice = document.createElement("div");
    const said = document.createElement("p");
    notice.className = "notice notice-problem";
    notice.setAttribute("role", "alert");
    said.textContent = text;
    notice.append(said);
    outcome.replaceChildren(notice);
  };

  // What a drop brings besides files, folders and texts, cannot be sent.
  const dropped = (transfer) =>
    [...transfer.items]
      .filter((item) => item.kind === "file" && !item.webkitGetAsEntry?.()?.isDirectory)
      .map((item) => item.getAsFile())
      .filter((file) => file !== null);

  const enhance = (form) => {
    const input = form.querySelector("input[type=file]");
    const drop = form.querySelector("[data-drop]");
    const transfer = form.querySelector("[data-transfer]");
    const bar = transfer.querySelector("progress");
    const text = transfer.querySelector("[data-transfer-text]");
    const outcome = form.querySelector("[data-outcome]");
    const button = form.querySelector("button[type=submit]");

    form.querySelector("[data-with-scripts]").hidden = false;
    input.addEventListener("change", () => listChosen(form, input));
    listChosen(form, input);

    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => {
        if (!event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        drop.classList.add("drop-over");
      });
    }
    drop.addEventListener("dragleave", (event) => {
      if (!drop.contains(event.relatedTarget)) drop.classList.remove("drop-over");
    });
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("drop-over");
      const together = new DataTransfer();
      for (const file of [...input.files, ...dropped(event.dataTransfer)]) together.items.add(file);
      input.files = together.files;
      listChosen(form, input);
    });

    const ended = () => {
      transfer.hidden = true;
      button.disabled = false;
    };

    const progressed = (event) => {
      const share = event.lengthComputable && event.total > 0 ? event.loaded / event.total : 0;
      bar.value = share;
      const percent = Math.floor(share * 100);
      text.textContent =
        share < 1 ? transfer.dataset.sending.replace("{percent}", percent) : transfer.dataset.sent;
    };

    const answered = (request) => {
      ended();
      const answer = request.response;
      if (request.status !== 202) {
        showProblem(outcome, answer?.detail ?? transfer.dataset.broken);
        return;
      }
      const place = document.createElement("div");
      outcome.replaceChildren(place);
      input.value = "";
      listChosen(form, input);
      htmx.ajax("GET", answer.url, { target: place, select: "#job", swap: "innerHTML" });
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // A server that refuses half-way through may be gone before its reason has arrived.
      const large = [...input.files].find((file) => file.size > Number(transfer.dataset.most));
      if (large) {
        showProblem(outcome, transfer.dataset.large.replace("{name}", large.name));
        return;
      }
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      request.responseType = "json";
      request.setRequestHeader("Accept", "application/json");
      request.upload.addEventListener("progress", progressed);
      request.addEventListener("load", () => answered(request));
      request.addEventListener("error", () => {
        ended();
        showProblem(outcome, transfer.dataset.broken);
      });
      outcome.replaceChildren();
      bar.value = 0;
      transfer.hidden = false;
      button.disabled = true;
      request.send(new FormData(form));
    });
  };

  document.querySelectorAll("form[data-upload]").forEach(enhance);
})();
