// The player of the studio. Runs once, as the body of function (element, trigger, props, watch).
// It follows a work on the server, draws it, and plays its turns without gaps, also while they are
// made. Everything that a user typed is put into the page as text, never as HTML.

const words = props.words;
// The page lies at .../studio/ or, in Chinese, at .../studio/zh/.
const root = location.pathname.replace(/\/+$/, "").replace(/\/zh$/, "");
const LEAD_S = 0.12; // between asking for sound and hearing it
const AHEAD_S = 15; // what is fetched before it is heard
const PIECE_SAMPLES = 1920; // 80 ms
const MAKING = ["making", "waiting"];
const COLOURS = { S1: "--s1", S2: "--s2", S3: "--s3", S4: "--s4" };

const at = (name) => element.querySelector(`[data-at="${name}"]`);
const wave = at("wave"), list = at("turns"), playButton = at("play");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let token = "", serial = 0, revision = 0, told = null;
let turns = new Map(), order = [], starts = [], totalS = 0, rows = new Map();
let picked = null, cursor = { place: 0, offset: 0 };

// --- Following the work ------------------------------------------------------------------------

async function follow(mine) {
  let failures = 0;
  while (serial === mine && token) {
    try {
      const wait = revision ? 20 : 0;
      const response = await fetch(`${root}/works/${token}/state?revision=${revision}&wait_s=${wait}`);
      if (serial !== mine) return;
      if (response.status === 404) return show({ state: "failed", message: words.gone });
      if (!response.ok) throw new Error(response.status);
      take(await response.json());
      failures = 0;
      await sleep(MAKING.includes(told.state) ? 150 : 20);
    } catch (error) {
      if (serial !== mine) return;
      failures += 1;
      if (failures > 2) show({ state: "failed", message: words.unreachable });
      await sleep(Math.min(500 * failures, 5000));
    }
  }
}

function take(news) {
  told = news;
  revision = news.revision;
  for (const turn of news.turns) {
    if (turn.peaks !== undefined) turn.peaks = Uint8Array.from(atob(turn.peaks), (c) => c.charCodeAt(0));
    turns.set(turn.id, turn);
  }
  order = news.order;
  let time = 0;
  starts = order.map((id, place) => {
    const turn = turns.get(id);
    if (turn?.sound) time += place ? news.pauses[place] : news.pauses[0];
    const start = time;
    time += secondsOf(turn);
    return start;
  });
  totalS = time;
  show(news);
  list_();
  draw();
}

const secondsOf = (turn) => (turn?.sound ? turn.num_samples / told.rate_hz : 0);

function show(news) {
  element.dataset.state = news.state;
  const { num_made: made = 0, num_turns: of = 0 } = news;
  at("status").textContent = of || news.state !== "idle"
    ? `${words.states[news.state] ?? news.state} · ${made}/${of}` : words.empty;
  at("done").style.width = of ? `${(100 * made) / of}%` : "0";
  const alert = at("alert");
  alert.textContent = news.message || "";
  alert.hidden = !news.message;
  at("files").hidden = !turnsWithSound();
  playButton.disabled = !turnsWithSound() && !MAKING.includes(news.state);
}

const turnsWithSound = () => order.some((id) => turns.get(id)?.sound);

function open(value) {
  if (!value) return;
  const isNew = value.token !== token;
  const mine = ++serial;
  token = value.token;
  element.dataset.token = token;
  if (isNew) {
    stop();
    turns = new Map(); order = []; rows.clear(); list.replaceChildren(); picked = null;
    cursor = { place: 0, offset: 0 };
  }
  revision = 0;
  if (!token) {
    told = null;
    show({ state: "idle", message: "" });
    return draw();
  }
  for (const link of element.querySelectorAll("[data-file]")) {
    link.href = `${root}/works/${token}/files/${link.dataset.file}`;
  }
  follow(mine);
  if (value.play) playWhenThere(mine, value.turn_id);
}

// Plays from the turn that is made first, or from the one that was asked for.
async function playWhenThere(mine, turnId) {
  stop();
  for (let n = 0; n < 600 && serial === mine; n++) {
    if (told && revision) {
      const wanted = turnId ?? told.turn_id;
      const place = order.indexOf(wanted);
      const turn = turns.get(wanted);
      if (place >= 0 && (turn?.is_growing || (turn?.is_current && turnId != null))) {
        return play(place, 0, turnId != null);
      }
      if (!MAKING.includes(told.state) && n > 3) {
        if (turnId == null && turnsWithSound()) play(0, 0); // all was there already
        return;
      }
    }
    await sleep(100);
  }
}

// --- Playing -----------------------------------------------------------------------------------

let context = null, meter = null, run = 0, isPlaying = false, sources = [], marks = [], endsAt = null;

function audio() {
  if (context === null) {
    // At the sound's own rate nothing is resampled, so that buffers join without a click.
    context = new AudioContext({ sampleRate: 24000 });
    meter = context.createAnalyser();
    meter.fftSize = 1024;
    meter.connect(context.destination);
  }
  if (context.state === "suspended") context.resume();
  return context;
}
// Browsers let a page sound once its user has touched it.
document.addEventListener("pointerdown", () => { if (element.isConnected) audio(); }, true);

async function play(place, offset, isAlone = false) {
  stop();
  const mine = ++run;
  const sound = audio();
  isPlaying = true;
  marks = [];
  endsAt = null;
  playButton.textContent = "❚❚";
  playButton.setAttribute("aria-label", words.pause);
  requestAnimationFrame(animate);
  let time = sound.currentTime + LEAD_S;
  for (let n = place; run === mine; n++) {
    const turn = await sounding(mine, n);
    if (run !== mine) return;
    if (!turn) break;
    time = Math.max(time, sound.currentTime + LEAD_S / 2);
    if (n > place) time += told.pauses[n];
    try {
      time = await playTurn(mine, turn, n, offset, time);
    } catch (error) {
      if (run === mine) show({ ...told, message: words.unreachable });
      break;
    }
    offset = 0;
    if (isAlone) break;
  }
  if (run === mine) endsAt = time;
}

// The turn at a place as soon as it can be heard; null where there is none and none will come.
async function sounding(mine, place) {
  while (run === mine) {
    const turn = turns.get(order[place]);
    const comes = MAKING.includes(told.state);
    if (turn?.sound && (turn.is_growing || turn.is_current || !comes)) return turn;
    if (place >= order.length || !comes) return null;
    await sleep(60);
  }
  return null;
}

async function playTurn(mine, turn, place, offset, time) {
  const response = await fetch(`${root}/works/${token}/sounds/${turn.sound}`);
  if (!response.ok) throw new Error(response.status);
  const reader = response.body.getReader();
  let skip = 2 * Math.floor(offset * told.rate_hz);
  let held = new Uint8Array(0);
  marks.push({ time, place, offset });
  for (;;) {
    const { value, done } = await reader.read();
    if (run !== mine) { reader.cancel(); return time; }
    if (value) {
      const piece = value.subarray(Math.min(skip, value.length));
      skip -= value.length - piece.length;
      const joined = new Uint8Array(held.length + piece.length);
      joined.set(held);
      joined.set(piece, held.length);
      held = joined;
    }
    const isEnough = held.length >= 2 * PIECE_SAMPLES;
    if (isEnough || (done && held.length > 1)) {
      const whole = held.length - (held.length % 2);
      time = schedule(held.slice(0, whole), time, place);
      held = held.slice(whole);
    }
    if (done) return time;
    while (run === mine && time - context.currentTime > AHEAD_S) await sleep(200);
  }
}

function schedule(bytes, time, place) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const buffer = context.createBuffer(1, bytes.length / 2, told.rate_hz);
  const samples = buffer.getChannelData(0);
  for (let n = 0; n < samples.length; n++) samples[n] = view.getInt16(2 * n, true) / 32768;
  if (time < context.currentTime + 0.005) { // it came too late: a gap, and on from here
    element.dataset.gaps = 1 + Number(element.dataset.gaps ?? 0);
    const last = marks[marks.length - 1];
    const heard = last.offset + time - last.time;
    time = context.currentTime + LEAD_S;
    marks.push({ time, place, offset: heard });
  }
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(meter);
  source.start(time);
  sources.push(source);
  source.onended = () => { sources = sources.filter((one) => one !== source); };
  element.dataset.scheduled = samples.length + Number(element.dataset.scheduled ?? 0);
  return time + buffer.duration;
}

function stop() {
  run += 1;
  for (const source of sources) { source.onended = null; source.stop(); }
  sources = [];
  isPlaying = false;
  playButton.textContent = "▶";
  playButton.setAttribute("aria-label", words.play);
  at("level").style.width = "0";
}

function position() {
  if (!isPlaying || !context) return cursor;
  const now = context.currentTime;
  let mark = null;
  for (const one of marks) if (one.time <= now) mark = one;
  if (!mark) return cursor;
  const most = secondsOf(turns.get(order[mark.place]));
  return { place: mark.place, offset: Math.min(mark.offset + now - mark.time, most) };
}

function animate() {
  if (!isPlaying) return;
  cursor = position();
  const heights = new Float32Array(meter.fftSize);
  meter.getFloatTimeDomainData(heights);
  const level = heights.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  element.dataset.loudest = Math.max(level, Number(element.dataset.loudest ?? 0));
  at("level").style.width = `${Math.min(100, 140 * level)}%`;
  draw();
  mark();
  if (endsAt !== null && context.currentTime > endsAt + 0.05) {
    stop();
    if (cursor.place >= order.length - 1) cursor = { place: 0, offset: 0 };
    draw();
    mark();
    return;
  }
  requestAnimationFrame(animate);
}

// --- The picture -------------------------------------------------------------------------------

const colour = (name) => getComputedStyle(element.firstElementChild).getPropertyValue(name).trim();

function draw() {
  const ratio = devicePixelRatio || 1, width = wave.clientWidth, height = wave.clientHeight;
  if (!width) return;
  if (wave.width !== Math.round(width * ratio)) wave.width = Math.round(width * ratio);
  if (wave.height !== Math.round(height * ratio)) wave.height = Math.round(height * ratio);
  const pen = wave.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const scale = width / Math.max(totalS, 4), middle = (height - 16) / 2;
  order.forEach((id, place) => {
    const turn = turns.get(id);
    if (!turn?.sound) return;
    const left = starts[place] * scale, wide = secondsOf(turn) * scale;
    const tint = colour(COLOURS[turn.speaker]);
    pen.globalAlpha = id === picked ? 0.28 : 0.1;
    pen.fillStyle = tint;
    pen.fillRect(left, 0, Math.max(wide - 1, 1), height - 16);
    pen.globalAlpha = turn.is_current || turn.is_growing ? 1 : 0.35;
    columns(pen, turn, left, wide, middle);
    if (wide > 34) {
      pen.font = "11px system-ui, sans-serif";
      const label = turn.name || turn.speaker;
      pen.fillText(label.slice(0, Math.floor(wide / 7)), left + 2, height - 4);
    }
  });
  pen.globalAlpha = 1;
  if (order.length && told) {
    const here = position(), x = ((starts[here.place] ?? 0) + here.offset) * scale;
    pen.fillStyle = colour("--head");
    pen.fillRect(Math.min(x, width - 2), 0, 2, height - 14);
    wave.setAttribute("aria-valuemax", totalS.toFixed(1));
    wave.setAttribute("aria-valuenow", ((starts[here.place] ?? 0) + here.offset).toFixed(1));
    at("time").textContent = `${clock((starts[here.place] ?? 0) + here.offset)} / ${clock(totalS)}`;
  } else at("time").textContent = "";
}

// A column for every three pixels: the loudest of what lies in it.
function columns(pen, turn, left, wide, middle) {
  const peaks = turn.peaks ?? [], step = 3;
  for (let x = 0; x < wide - 1; x += step) {
    const from = Math.floor((x / wide) * peaks.length);
    const to = Math.max(from + 1, Math.floor(((x + step) / wide) * peaks.length));
    let most = 0;
    for (let n = from; n < to && n < peaks.length; n++) most = Math.max(most, peaks[n]);
    const tall = Math.max(1, (most / 255) * (middle - 2));
    pen.fillRect(left + x, middle - tall, 2, 2 * tall);
  }
}

const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

// --- The list of turns -------------------------------------------------------------------------

function list_() {
  order.forEach((id, place) => {
    let row = rows.get(id);
    if (!row) rows.set(id, (row = newRow(id)));
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    fill(row, turns.get(id));
  });
  for (const [id, row] of rows) if (!order.includes(id)) { row.remove(); rows.delete(id); }
  mark();
}

function newRow(id) {
  const row = document.createElement("li");
  const hear = document.createElement("button"), who = document.createElement("span");
  const said = document.createElement("span"), length = document.createElement("span");
  hear.type = "button";
  hear.className = "hear";
  hear.textContent = "▶";
  hear.setAttribute("aria-label", words.play);
  who.className = "who";
  said.className = "said";
  length.className = "length";
  row.append(hear, who, said, length);
  row.tabIndex = 0;
  row.setAttribute("role", "button");
  hear.addEventListener("click", (event) => {
    event.stopPropagation();
    play(order.indexOf(id), 0, true);
  });
  row.addEventListener("click", () => pick(id));
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === row) pick(id);
  });
  return row;
}

function fill(row, turn) {
  const [hear, who, said, length] = row.children;
  hear.disabled = !turn.sound;
  who.textContent = turn.name || turn.speaker;
  who.style.background = `var(${COLOURS[turn.speaker]})`;
  said.textContent = turn.text;
  row.classList.toggle("growing", turn.is_growing);
  row.classList.toggle("lacking", !turn.is_current && !turn.is_growing);
  length.textContent = turn.sound ? `${secondsOf(turn).toFixed(1)} s` : "…";
}

function mark() {
  const here = isPlaying ? order[position().place] : null;
  for (const [id, row] of rows) {
    row.classList.toggle("playing", id === here);
    row.classList.toggle("picked", id === picked);
  }
}

function pick(id) {
  picked = id;
  mark();
  draw();
  trigger("pick", { id });
}

// --- Hands -------------------------------------------------------------------------------------

playButton.addEventListener("click", () => {
  if (isPlaying) { cursor = position(); stop(); draw(); } else play(cursor.place, cursor.offset);
});

function seek(time) {
  let place = 0;
  order.forEach((id, n) => { if (turns.get(id)?.sound && starts[n] <= time) place = n; });
  cursor = { place, offset: Math.max(0, Math.min(time - starts[place], secondsOf(turns.get(order[place])))) };
  if (isPlaying) play(cursor.place, cursor.offset);
  draw();
}

wave.addEventListener("click", (event) => {
  if (!order.length) return;
  seek((event.offsetX / wave.clientWidth) * Math.max(totalS, 4));
  if (turns.get(order[cursor.place])?.sound) pick(order[cursor.place]);
});
wave.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
  if (step && order.length) seek(Math.max(0, starts[position().place] + position().offset + step));
  else if (event.key === " ") playButton.click();
  else return;
  event.preventDefault();
});
new ResizeObserver(draw).observe(wave);
for (const link of element.querySelectorAll("[data-file]")) {
  link.addEventListener("click", (event) => { if (!token) event.preventDefault(); });
}

watch("value", () => open(props.value && JSON.parse(props.value)));
show({ state: "idle", message: "" });
if (props.value) open(JSON.parse(props.value));
