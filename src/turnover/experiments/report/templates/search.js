// Search over sections, figures and claims; and what is folded opens when a link leads into it.
const entries = [...document.querySelectorAll("main section, main details[id], main .claim")].map((place) => {
  const title = place.querySelector("h2, h3, h4").textContent.trim();
  const text = (place.matches(".claim") ? place : place.querySelector("h2, summary, p")).textContent;
  return { id: place.id, title, text: `${title} ${text}`.toLowerCase() };
});

function matches(words) {
  const every = entries.filter((entry) => words.every((word) => entry.text.includes(word)));
  const inTitle = (entry) => words.every((word) => entry.title.toLowerCase().includes(word));
  return [...every.filter(inTitle), ...every.filter((entry) => !inTitle(entry))];
}

function search() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = words.length ? matches(words) : [];
  const list = document.getElementById("hits");
  list.replaceChildren(...hits.slice(0, 12).map((entry) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = `#${entry.id}`;
    link.textContent = entry.title;
    item.append(link);
    return item;
  }));
  if (words.length && !hits.length) list.append(Object.assign(document.createElement("li"), { textContent: "nothing found" }));
  list.hidden = !words.length;
  document.getElementById("found").textContent = words.length ? `${hits.length} found` : "";
}

function unfold(id) {
  const target = document.getElementById(id);
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  if (target) target.scrollIntoView();
}

const find = document.getElementById("find");
find.form.hidden = false;
find.addEventListener("input", search);
find.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const first = document.querySelector("#hits a");
  if (first) first.click();
});
find.form.addEventListener("keydown", (event) => { if (event.key === "Escape") { find.value = ""; search(); find.focus(); } });
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) setTimeout(() => unfold(link.hash.slice(1)));
  if (link || !event.target.closest("#search")) document.getElementById("hits").hidden = true;
});
addEventListener("hashchange", () => unfold(location.hash.slice(1)));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
unfold(location.hash.slice(1));
