"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement, tools = $("tools"), list = $("cards");
  const cards = [...document.querySelectorAll(".card")];
  root.classList.add("js");
  document.querySelectorAll(".copy").forEach((button) => { button.hidden = false; });

  const open = () => {
    const card = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
    if (card && card.matches && card.matches(".card")) {
      card.hidden = false;
      card.open = true;
      card.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = cards.filter((card) => !card.open && !card.hidden);
    opened.forEach((card) => { card.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((card) => { card.open = false; }));

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const rows = [...button.closest(".body").querySelectorAll(".technical tr")];
    const text = rows.map((row) => [...row.cells].map((cell) => cell.innerText).join("\t")).join("\n");
    const done = () => {
      const label = button.textContent;
      button.textContent = button.dataset.done;
      setTimeout(() => { button.textContent = label; }, 1500);
    };
    if (navigator.clipboard) {
      navigator.clipboard.writeText(text).then(done, () => {});
    } else {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      if (document.execCommand("copy")) done();
      area.remove();
    }
  });

  if (!tools) return;
  tools.hidden = false;
  const toggles = [...tools.querySelectorAll("[data-toggle]")];
  const shown = $("shown");
  let texts = null;

  const filter = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const severities = new Set(toggles.filter((one) => one.ariaPressed === "true").map((one) => one.dataset.toggle));
    const platform = $("platform").value;
    if (words.length && !texts) texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
    let count = 0;
    for (const card of cards) {
      const fits = (!severities.size || severities.has(card.dataset.s)) &&
        (!platform || card.dataset.p.split(" ").includes(platform)) &&
        words.every((word) => texts.get(card).includes(word));
      card.hidden = !fits;
      count += fits;
    }
    shown.textContent = shown.dataset.text.replace("{shown}", count).replace("{all}", cards.length);
    $("none").hidden = count > 0;
  };
  const press = (severity) => {
    const button = toggles.find((one) => one.dataset.toggle === severity);
    button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
    filter();
  };
  toggles.forEach((one) => one.addEventListener("click", () => press(one.dataset.toggle)));
  document.querySelectorAll(".chart [data-s]").forEach((one) => one.addEventListener("click", () => {
    press(one.dataset.s);
    tools.scrollIntoView();
  }));

  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });
  $("platform").addEventListener("change", filter);

  const title = (card) => card.querySelector("h3").textContent;
  const orders = {
    id: () => 0,
    c: (a, b) => b.dataset.c - a.dataset.c,
    n: (a, b) => b.dataset.n - a.dataset.n,
    t: (a, b) => title(a).localeCompare(title(b)),
  };
  $("sort").addEventListener("change", () => {
    list.append(...[...cards].sort(orders[$("sort").value]));
  });
  $("expand").addEventListener("click", () => cards.forEach((card) => { card.open = card.open || !card.hidden; }));
  $("collapse").addEventListener("click", () => cards.forEach((card) => { card.open = false; }));
  $("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  filter();
  open();
})();
