"use strict";
// All that comes from data is set as text (textContent), never as markup.
const $ = (id) => document.getElementById(id);
const longest = Number(document.body.dataset.longest);
const largest = Number(document.body.dataset.largest);
history.replaceState(null, "", "/"); // the token is in a cookie now, and need not be seen
let asked = 0; // the newest request
let answered = 0; // equal to `asked` when none is on its way
let question = null; // what the page shows the answer to: { address, options, about, name, preview }
let moved = false; // a control has moved since the list was asked for
let wanted = false; // more was asked for while a request was running
let walks = [];
let lists = []; // of each side

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

// The newest request counts: null for an answer that comes after a later one is asked for, and for a refusal.
async function request({ address, options }, skip) {
  const mine = ++asked;
  $("message").textContent = "";
  const fields = { specificity: $("specificity").value, threshold: $("threshold").value, only: $("only").checked, skip };
  let answer, fault = null;
  try {
    const response = await fetch(`${address}?${new URLSearchParams(fields)}`, { method: "POST", ...options });
    answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
  } catch (error) {
    fault = error;
  }
  if (mine !== asked) return null;
  answered = mine;
  if (fault === null) return answer;
  const lost = fault instanceof TypeError || fault instanceof SyntaxError;
  complain(lost ? "The explorer does not answer: is it still running in its terminal?" : sentence(fault.message));
  return null;
}

async function ask(next) {
  moved = wanted = false;
  $("status").textContent = `Looking for ${next.about} …`;
  const answer = await request(next, 0);
  const old = answer ? question : next;
  if (old?.preview) URL.revokeObjectURL(old.preview);
  if (answer) {
    question = next;
    $("status").textContent = answer.note ? sentence(answer.note) : "";
    if (next.name) {
      // forms carry quotes in file names as %22: the name as it was chosen is better
      answer.query.name = next.name;
      for (const model of answer.models) model.walk_to = next.name;
    }
    showSaid(answer.query);
    showMatches(answer);
    showWalk(answer);
  }
  return settle();
}

// The list anew after a control has moved. One request at a time: of moves meanwhile, only the last counts.
async function move() {
  moved = true;
  if (question === null || asked !== answered) return;
  moved = false;
  const answer = await request(question, 0);
  if (answer) showList(answer);
  return settle();
}

async function more() {
  wanted = asked !== answered;
  if (wanted) return;
  const places = lists.map((list) => list.children.length);
  const answer = await request(question, Math.max(...places));
  if (answer) {
    addPage(answer);
    lists.map((list, index) => list.children[places[index]]).find(Boolean)?.querySelector("button").focus();
  }
  return settle();
}

function settle() {
  if (asked !== answered) return;
  if (moved) return move();
  if (wanted) return more();
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function askText(text) {
  if (!text.trim()) return complain("Type a text first.");
  if (text.length > longest)
    return complain(`The text has ${text.length.toLocaleString("en")} characters; at most ${longest.toLocaleString("en")} are taken.`);
  $("text").value = text;
  return ask({ address: "/match/text", options: json({ text }), about: "images" });
}

function json(value) {
  return { headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}

function askPhoto(file) {
  if (file.size > largest)
    return complain(`The file is too large: at most ${Math.floor(largest / 2 ** 20)} MB are taken.`);
  const form = new FormData();
  form.append("photo", file);
  const preview = URL.createObjectURL(file);
  return ask({ address: "/match/photo", options: { body: form }, about: "captions", name: file.name, preview });
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
  const kinds = kindsOf(answer);
  $("matches-about").textContent =
    `The best ${kinds} of ${answer.of.toLocaleString("en")}. ` +
    (kinds === "images" ? "Choose an image to see its captions." : "Choose a caption to see its images.");
  lists = [];
  const sides = answer.models.map((model, index) => {
    const list = make("ol", { className: kinds });
    lists.push(list);
    const side = make("section", { className: "side" }, make("h3", { id: `side-${index}`, textContent: model.name }));
    side.setAttribute("aria-labelledby", `side-${index}`);
    if (answer.of) side.append(make("p", { className: "about", textContent: sentence(model.about) }), list);
    side.append(make("p", { className: "none", hidden: true }));
    return side;
  });
  $("sides").replaceChildren(...sides);
  const graded = answer.models.some((model) => model.matches !== null);
  $("order").hidden = !graded || kinds === "images"; // no specificity moves images
  $("match").hidden = !graded;
  showList(answer);
  const old = $("matches").querySelector(".asked");
  if (old) old.remove();
  if (kinds === "captions") {
    const source = answer.query.row === null ? question.preview : `/image/${answer.query.row}`;
    $("sides").before(make("img", { className: "asked", src: source, alt: `The photo asked about: ${answer.query.name}` }));
  }
}

function kindsOf(answer) {
  return answer.query.kind === "text" ? "images" : "captions";
}

// The first page of each side's list, in place of what was there.
function showList(answer) {
  for (const list of lists) list.replaceChildren();
  addPage(answer);
  const of = `${answer.of.toLocaleString("en")} ${kindsOf(answer)}`;
  const matches = answer.models.filter((model) => model.matches !== null);
  $("count").textContent = matches.map((model) => `${model.name}: ${model.matches.toLocaleString("en")} of ${of} match.`).join(" ");
  for (const [index, note] of [...$("sides").querySelectorAll(".none")].entries()) {
    note.hidden = answer.models[index].listed > 0;
    note.textContent = answer.of ? "No match." : "Nothing to match with.";
  }
  const firsts = answer.models.map((model) => model.results[0]?.text).filter(Boolean);
  $("specificity").setAttribute("aria-valuetext", `${$("specificity-number").textContent}, first: ${firsts.join("; ")}`);
}

function addPage(answer) {
  const one = kindsOf(answer) === "images" ? imageMatch : textMatch;
  answer.models.forEach((model, index) => {
    const before = lists[index].children.length;
    lists[index].append(...model.results.map((match, place) => one(match, before + place)));
  });
  $("more").hidden = answer.models.every((model, index) => lists[index].children.length >= model.listed);
}

function showControls() {
  $("specificity-number").textContent = $("specificity").valueAsNumber.toFixed(1);
  $("threshold-number").textContent = `${$("threshold").value}%`;
  $("threshold").setAttribute("aria-valuetext", `${$("threshold").value}%`);
}

function imageMatch(match, rank) {
  const item = $("image-match").content.cloneNode(true).firstElementChild;
  const picture = item.querySelector("img");
  picture.src = `/image/${match.row}`;
  picture.alt = match.caption || match.name;
  item.querySelector("button").setAttribute("aria-label", `Captions of image ${rank + 1}: ${picture.alt}`);
  item.querySelector("button").addEventListener("click", () => {
    const next = { address: "/match/image", options: json({ row: match.row }), about: "captions" };
    ask(next).then(() => $("matches").focus());
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
for (const control of [$("specificity"), $("threshold"), $("only")])
  control.addEventListener("input", () => {
    showControls();
    move();
  });
$("more").addEventListener("click", more);
showControls();
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
