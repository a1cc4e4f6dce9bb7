// Tables of slides sort, filter and search; without this script they are plain tables, and all there.
"use strict";

const inOrder = new Intl.Collator("en", { numeric: true }).compare;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The values of a column as a menu: each of them, or whether there is one.
function menuOf(head, values) {
  const title = head.textContent.trim();
  const has = head.dataset.choose === "any";
  const kinds = has ? ["with", "without"] : [...new Set(values)].sort(inOrder);
  const several = has ? new Set(values.map((text) => text !== "")).size : kinds.length;
  if (several < 2 || kinds.length > 40) return null;
  const menu = element("select", {}, element("option", { value: "" }, "all"));
  kinds.forEach((kind, place) => menu.append(element("option", { value: String(place + 1) }, kind || "–")));
  const fits = (text) => {
    const kind = kinds[Number(menu.value) - 1];
    return menu.value === "" || (has ? (text !== "") === (kind === "with") : text === kind);
  };
  return { label: element("label", {}, title, menu), fits };
}

function enliven(table) {
  const body = table.tBodies[0], written = [...body.rows], heads = [...table.tHead.rows[0].querySelectorAll("th")];
  const texts = new Map(written.map((row) => [row, [...row.cells].map((cell) => cell.textContent.trim())]));
  const pictures = new Map();
  for (const row of written) {
    const href = row.querySelector("a")?.getAttribute("href") ?? "";
    const picture = href.startsWith("#") && document.getElementById(href.slice(1));
    if (picture) pictures.set(row, picture);
  }

  let order = written;
  function arrange() {
    body.append(...order);
    const figures = order.flatMap((row) => pictures.get(row) ?? []);
    if (figures.length) figures[0].parentElement.prepend(...figures);
  }
  function compare(column, way) {
    const number = heads[column].classList.contains("n");
    return (one, other) => {
      const [a, b] = [texts.get(one)[column], texts.get(other)[column]];
      if (!number) return way * inOrder(a, b);
      const [x, y] = [parseFloat(a), parseFloat(b)];
      return Number.isNaN(x) - Number.isNaN(y) || way * (x - y) || 0;
    };
  }
  heads.forEach((head, column) => {
    const button = element("button", { type: "button", title: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      for (const other of heads) other.removeAttribute("aria-sort");
      const next = before === null ? "ascending" : before === "ascending" ? "descending" : null;
      if (next) head.setAttribute("aria-sort", next);
      order = next ? [...written].sort(compare(column, next === "ascending" ? 1 : -1)) : written;
      arrange();
    });
  });

  const menus = heads.flatMap((head, column) => {
    if (!head.dataset.choose) return [];
    const menu = menuOf(head, written.map((row) => texts.get(row)[column]));
    return menu ? [{ ...menu, column }] : [];
  });
  const search = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const count = element("p", { role: "status" });
  const reset = element("button", { type: "reset" }, "Show all");
  const name = table.getAttribute("aria-labelledby");
  const form = element("form", { class: "filters", role: "search", "aria-labelledby": name },
    element("label", {}, "search", search), ...menus.map((menu) => menu.label), count, reset);
  function choose() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of written) {
      const cells = texts.get(row), all = cells.join("\n").toLowerCase();
      const fits = words.every((word) => all.includes(word)) && menus.every((menu) => menu.fits(cells[menu.column]));
      row.hidden = !fits;
      if (pictures.has(row)) pictures.get(row).hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${written.length} ${table.dataset.of}`;
    reset.disabled = shown === written.length;
  }
  form.addEventListener("input", choose);
  form.addEventListener("reset", () => setTimeout(choose));
  form.addEventListener("submit", (event) => event.preventDefault());
  if (written.length > 1) table.parentElement.before(form);
  choose();
}

// The report is written before the pictures are drawn: slides/drawn.js says which ones there are.
function unlinkUndrawn(table) {
  const drawn = new Set(window.drawn ?? []);
  for (const link of table.querySelectorAll("tbody a")) {
    if (!drawn.has(link.getAttribute("href").split("#")[1])) link.replaceWith(...link.childNodes);
  }
}

document.querySelectorAll("table[data-elsewhere]").forEach(unlinkUndrawn);
document.querySelectorAll("table.list").forEach(enliven);

// A box is a stop of the tab key only where there is something to scroll.
const watch = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    if (scrolls) target.setAttribute("tabindex", "0"); else target.removeAttribute("tabindex");
  }
});
document.querySelectorAll(".box").forEach((box) => watch.observe(box));
