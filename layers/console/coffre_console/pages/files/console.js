// Makes pages more comfortable; everything works without it.
const words = document.body.dataset;
const page = document.documentElement.lang;
const language = navigator.language.startsWith(page) ? navigator.language : page;
document.documentElement.classList.add("scripted");

// Times in the reader's zone, with UTC next to them.
const local = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(language, { timeStyle: "short", timeZone: "UTC" });
const day = (at, timeZone) => new Intl.DateTimeFormat("en-CA", { timeZone }).format(at);

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const utc = day(at, zone) === day(at, "UTC") ? `${clock.format(at)} UTC` : time.textContent;
    const written = local.format(at);
    time.replaceChildren(written);
    if (at.getTimezoneOffset() !== 0) {
      const small = document.createElement("small");
      small.textContent = ` (${utc})`;
      time.append(small);
    } else {
      time.append(" UTC");
    }
  }
}

// Commands can be copied.
function addCopies(root) {
  if (!navigator.clipboard) return;
  for (const code of root.querySelectorAll("[data-command]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = words.copy;
    button.setAttribute("aria-label", `${words.copy}: ${code.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = words.copied;
      setTimeout(() => { button.textContent = words.copy; }, 2000);
    });
    code.after(button);
  }
}

// What runs is asked for again until it has ended; then the whole page is loaded, with what became of it.
async function follow(section) {
  const seconds = 3;
  let lost = 0;
  for (;;) {
    await new Promise((done) => setTimeout(done, 1000 * seconds * Math.min(1 + lost, 10)));
    if (document.hidden) continue;
    // A person who is about to press a button of it must not have it replaced.
    if (section.contains(document.activeElement)) continue;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (answer.status === 401 || answer.status === 403 || answer.status === 404) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const sent = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = sent.getElementById(section.id);
      if (!fresh || !("live" in fresh.dataset) || sent.title !== document.title) return location.reload();
      lost = 0;
      showTimes(fresh);
      section.replaceChildren(...fresh.childNodes);
    } catch {
      lost += 1;
      if (lost === 2) {
        const note = document.createElement("p");
        note.className = "bad";
        note.textContent = words.lost;
        section.append(note);
      }
    }
  }
}

// The last step of what cannot be undone: it counts down, and can be stopped until the end.
function countDown(form) {
  const shown = form.querySelector("output");
  shown.parentElement.hidden = false;
  const end = Date.now() + 1000 * Number(form.dataset.countdown);
  form.querySelector("[data-stop]").addEventListener("click", () => clearInterval(timer));
  const timer = setInterval(() => {
    const left = Math.ceil((end - Date.now()) / 1000);
    shown.textContent = String(Math.max(0, left));
    if (left <= 0) {
      clearInterval(timer);
      form.requestSubmit();
    }
  }, 250);
}

// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));

showTimes(document);
addCopies(document);
document.querySelectorAll("form[data-countdown]").forEach(countDown);
document.querySelectorAll("[data-live]").forEach(follow);
