// The status page works without this script. With it, filters and orders apply at once, and the
// page can update itself. The server renders everything: each change fetches the page with the
// new query and replaces the parts that differ.
"use strict";

(() => {
  const status = document.getElementById("status");
  const said = document.getElementById("said");
  const form = document.querySelector("form.controls");
  if (!form) return;

  const FOLLOW_EVERY = 10_000; // milliseconds
  const TYPING_PAUSE = 200;
  let newest = 0;

  const query = () => {
    const chosen = [...new FormData(form)].filter(([, value]) => value !== "");
    return "?" + new URLSearchParams(chosen);
  };

  // Replacing nodes loses the focus and closes open details, so both are remembered.
  const remember = () => {
    const focused = status.contains(document.activeElement) ? document.activeElement : null;
    const alike = focused && [...status.querySelectorAll(focused.localName)];
    return {
      place: focused ? [focused.localName, alike.indexOf(focused)] : null,
      open: [...status.querySelectorAll("details[open]")].map((each) => each.id),
    };
  };

  const restore = ({ place, open }) => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (place) status.querySelectorAll(place[0])[place[1]]?.focus({ preventScroll: true });
  };

  const show = async (url, { announce }) => {
    const turn = ++newest;
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (turn !== newest) return;
      const before = remember();
      for (const id of ["verdict", "status", "as-of"]) {
        document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
      }
      document.title = page.title;
      restore(before);
      const rows = status.querySelectorAll(".integrations tbody tr").length;
      said.textContent = announce ? `${rows} ${rows === 1 ? "integration" : "integrations"} shown` : "";
      said.classList.add("hidden");
    } catch {
      if (turn !== newest) return;
      said.textContent = "The exporter does not answer; what stands here is old.";
      said.classList.remove("hidden");
    }
  };

  const choose = (url) => {
    history.replaceState(null, "", url === "?" ? location.pathname : url);
    form.querySelector(".reset").hidden = url === "?";
    return show(url, { announce: true });
  };

  let typing;
  form.addEventListener("input", (event) => {
    if (event.target.name === "sort") form.elements.order.value = "";
    clearTimeout(typing);
    typing = setTimeout(() => choose(query()), event.target.type === "search" ? TYPING_PAUSE : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    choose(query());
  });

  // Links that change the query: column heads, counts and the reset link.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="?"]');
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const url = new URL(link.href);
    for (const field of form.elements) {
      if (field.name) field.value = url.searchParams.get(field.name) ?? "";
    }
    choose(url.search || "?");
  });

  let following;
  const follow = document.createElement("button");
  follow.type = "button";
  follow.textContent = "Follow";
  follow.title = "Show what is new every 10 seconds";
  follow.setAttribute("aria-pressed", "false");
  follow.addEventListener("click", () => {
    const on = follow.getAttribute("aria-pressed") !== "true";
    follow.setAttribute("aria-pressed", String(on));
    clearInterval(following);
    const tick = () => document.hidden || show(location.href, { announce: false });
    if (on) {
      tick();
      following = setInterval(tick, FOLLOW_EVERY);
    }
  });
  const apply = form.querySelector("button[type=submit]");
  apply.replaceWith(follow);
})();
