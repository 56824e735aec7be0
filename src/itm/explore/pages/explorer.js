"use strict";
// All that comes from data is set as text (textContent), never as markup.
const $ = (id) => document.getElementById(id);
const longest = Number(document.body.dataset.longest);
const largest = Number(document.body.dataset.largest);
history.replaceState(null, "", "/"); // the token is in a cookie now, and need not be seen
let asked = 0;
let walks = [];
let shown = []; // the model and the list of each side
let preview = null;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function number(value, digits = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function complain(message) {
  $("message").textContent = message;
  $("status").textContent = "";
}

// The newest question counts: an answer that comes after a later question is dropped.
async function ask(address, options, about, name = null) {
  const mine = ++asked;
  $("message").textContent = "";
  $("status").textContent = `Looking for ${about} …`;
  let answer;
  try {
    const response = await fetch(address, { method: "POST", ...options });
    answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
  } catch (error) {
    if (mine === asked) {
      const lost = error instanceof TypeError || error instanceof SyntaxError;
      complain(lost ? "The explorer does not answer: is it still running in its terminal?" : sentence(error.message));
    }
    return;
  }
  if (mine !== asked) return;
  $("status").textContent = answer.note ? sentence(answer.note) : "";
  if (name !== null) {
    // forms carry quotes in file names as %22: the name as it was chosen is better
    answer.query.name = name;
    for (const model of answer.models) model.walk_to = name;
  }
  showSaid(answer.query);
  showMatches(answer);
  showWalk(answer);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function askText(text) {
  if (!text.trim()) return complain("Type a text first.");
  if (text.length > longest)
    return complain(`The text has ${text.length.toLocaleString("en")} characters; at most ${longest.toLocaleString("en")} are taken.`);
  keepPreview(null);
  $("text").value = text;
  return ask("/match/text", json({ text }), "images");
}

function json(value) {
  return { headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}

function askPhoto(file) {
  if (file.size > largest)
    return complain(`The file is too large: at most ${Math.floor(largest / 2 ** 20)} MB are taken.`);
  const form = new FormData();
  form.append("photo", file);
  keepPreview(file);
  return ask("/match/photo", { body: form }, "captions", file.name);
}

function keepPreview(file) {
  if (preview) URL.revokeObjectURL(preview);
  preview = file ? URL.createObjectURL(file) : null;
}

function showSaid(query) {
  $("said").hidden = query.kind !== "text" || query.d === null;
  if ($("said").hidden) return;
  const rows = query.shares.map((share) => {
    const row = make("tr");
    row.append(make("th", { scope: "row", dir: "auto", textContent: share.word }));
    row.append(make("td", { className: "number", textContent: number(share.points) }));
    row.append(make("td", { textContent: share.why + (share.times > 1 ? `, ${share.times} times` : "") }));
    return row;
  });
  const head = make("tr", {}, ...["word", "adds to d", "training captions"].map((name) => make("th", { scope: "col", textContent: name })));
  $("said-body").replaceChildren(
    make("p", {}, "Descriptiveness d = ", make("strong", { textContent: number(query.d) }), ", the sum of its words’ shares."),
    make("table", { className: "shares" }, make("thead", {}, head), make("tbody", {}, ...rows)),
  );
}

function showFacts(item, match) {
  item.querySelector(".bar span").style.width = `${100 * match.bar}%`;
  const known = match.probability !== null;
  item.querySelector(".probability").textContent = known ? percent(match.probability) : "";
  item.querySelector(".match").textContent = match.match ? "match" : "";
  item.classList.toggle("matched", Boolean(match.match));
  item.querySelector(".similarity").textContent = (known ? "similarity\u00a0" : "") + number(match.similarity);
}

// Rounded down, so that what is shown as 50% is one of the matches.
function percent(probability) {
  return probability < 0.01 ? "<1%" : `${Math.floor(100 * probability)}%`;
}

function showMatches(answer) {
  const kinds = answer.query.kind === "text" ? "images" : "captions";
  $("matches-about").textContent =
    `The best ${kinds} of ${answer.of.toLocaleString("en")}. ` +
    (kinds === "images" ? "Choose an image to see its captions." : "Choose a caption to see its images.");
  shown = [];
  const sides = answer.models.map((model, index) => {
    const list = make("ol", { className: kinds });
    shown.push({ model, list, items: model.results.map(kinds === "images" ? imageMatch : textMatch) });
    const side = make("section", { className: "side" }, make("h3", { id: `side-${index}`, textContent: model.name }));
    side.setAttribute("aria-labelledby", `side-${index}`);
    if (model.results.length) side.append(make("p", { className: "about", textContent: sentence(model.about) }), list);
    else side.append(make("p", { textContent: "Nothing to match with." }));
    return side;
  });
  $("sides").replaceChildren(...sides);
  $("order").hidden = answer.models.every((model) => model.orders.length === 1);
  order();
  const old = $("matches").querySelector(".asked");
  if (old) old.remove();
  if (kinds === "captions") {
    const source = answer.query.row === null ? preview : `/image/${answer.query.row}`;
    $("sides").before(make("img", { className: "asked", src: source, alt: `The photo asked about: ${answer.query.name}` }));
  }
}

// Of the orders that came with the answer, the one at the slider's place; a model without a grade has only one.
function order() {
  const slider = $("specificity");
  const place = Math.round(slider.valueAsNumber / slider.step);
  const firsts = [];
  for (const { model, list, items } of shown) {
    const rows = model.orders[Math.min(place, model.orders.length - 1)];
    list.replaceChildren(...rows.map((row) => items[row]));
    if (rows.length) firsts.push(model.results[rows[0]].text);
  }
  const value = slider.valueAsNumber.toFixed(1);
  $("specificity-number").textContent = value;
  slider.setAttribute("aria-valuetext", `${value}, first: ${firsts.join("; ")}`);
}

function imageMatch(match, rank) {
  const item = $("image-match").content.cloneNode(true).firstElementChild;
  const picture = item.querySelector("img");
  picture.src = `/image/${match.row}`;
  picture.alt = match.caption || match.name;
  item.querySelector("button").setAttribute("aria-label", `Captions of image ${rank + 1}: ${picture.alt}`);
  item.querySelector("button").addEventListener("click", () => {
    keepPreview(null);
    ask("/match/image", json({ row: match.row }), "captions").then(() => $("matches").focus());
  });
  item.querySelector(".name").textContent = match.name;
  item.querySelector(".caption").textContent = match.caption;
  showFacts(item, match);
  return item;
}

function textMatch(match) {
  const item = $("text-match").content.cloneNode(true).firstElementChild;
  const button = item.querySelector("button");
  button.textContent = match.text;
  button.addEventListener("click", () => askText(match.text).then(() => $("matches").focus()));
  item.querySelector(".d").textContent = match.d === null ? "" : `d\u00a0${number(match.d, 2)}`;
  item.querySelector(".own").textContent = match.own ? "its own caption" : "";
  showFacts(item, match);
  return item;
}

function showWalk(answer) {
  walks = answer.models.filter((model) => model.walk.length);
  $("walk").hidden = walks.length === 0;
  if (!walks.length) return;
  const level = $("level");
  level.max = walks[0].walk.length;
  level.value = level.max;
  $("walk-about").textContent =
    `Each level admits texts up to a distance from the empty caption; among them the most similar to the image is met. ` +
    (answer.query.kind === "text" ? "The image is each model’s best match." : "The image is the photo asked about.");
  $("walk-sides").replaceChildren(...walks.map((model, index) => {
    const side = make("section", { className: "side" }, make("h3", { id: `walk-${index}`, textContent: `${model.name}, to ${model.walk_to}` }));
    side.setAttribute("aria-labelledby", `walk-${index}`);
    const path = make("ol", { className: "path" });
    for (const stretch of stretches(model.walk)) {
      const item = make("li", { dir: "auto", textContent: stretch.text });
      item.dataset.first = stretch.first;
      item.dataset.last = stretch.last;
      path.append(item);
    }
    side.append(make("p", { className: "met", dir: "auto" }), make("p", { className: "quiet" }), path);
    return side;
  }));
  moveTo(Number(level.value));
}

// Levels in a row that meet the same text.
function stretches(walk) {
  const found = [];
  walk.forEach((step, place) => {
    const last = found[found.length - 1];
    if (last && last.text === step.text) last.last = place + 1;
    else found.push({ text: step.text, first: place + 1, last: place + 1 });
  });
  return found;
}

function moveTo(level) {
  $("level-number").textContent = `${level} of ${$("level").max}`;
  const met = [];
  [...$("walk-sides").children].forEach((side, index) => {
    const step = walks[index].walk[level - 1];
    met.push(step.text);
    side.querySelector(".met").textContent = step.text;
    side.querySelector(".quiet").textContent =
      `similarity ${number(step.similarity)}, distance from the empty caption ${number(step.radius)}` +
      (step.d === null ? "" : `, d\u00a0${number(step.d, 2)}`);
    for (const item of side.querySelectorAll(".path li")) {
      if (Number(item.dataset.first) <= level && level <= Number(item.dataset.last)) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
  });
  $("level").setAttribute("aria-valuetext", `level ${level}: ${met.join("; ")}`);
}

$("text-form").addEventListener("submit", (event) => {
  event.preventDefault();
  askText($("text").value);
});
for (const button of document.querySelectorAll(".example"))
  button.addEventListener("click", () => askText(button.textContent));
$("photo").addEventListener("change", () => {
  if ($("photo").files.length) askPhoto($("photo").files[0]);
});
$("specificity").addEventListener("input", order);
$("level").addEventListener("input", () => moveTo(Number($("level").value)));
const drop = $("drop");
for (const name of ["dragenter", "dragover"])
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) askPhoto(event.dataTransfer.files[0]);
  else complain("That was no file.");
});
// A photo dropped beside the field would otherwise replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
