// Keeps the page up to date. The server renders it; this fetches it again when the catalogue changed and puts the sections
// that differ in place. Without this script the page is the same, as of the moment it was loaded.
"use strict";

(() => {
  const POLL_LIVE = 30000; // ages grow also when nothing changes
  const POLL_ALONE = 5000; // without events
  const connection = document.getElementById("connection");
  let events = null;
  let busy = false;
  let again = false;
  let timer = 0;

  const live = () => events !== null && events.readyState === EventSource.OPEN;

  function tell(text, stale) {
    if (connection.textContent !== text) connection.textContent = text;
    document.body.classList.toggle("stale", stale);
  }

  function replace(fresh) {
    for (const section of fresh.querySelectorAll("section[id]")) {
      const shown = document.getElementById(section.id);
      if (shown === null) {
        document.getElementById("main").append(document.adoptNode(section));
        continue;
      }
      if (shown.outerHTML === section.outerHTML) continue;
      // What is being read with the keyboard or copied is not pulled away; the next refresh brings it.
      const selection = document.getSelection();
      const copied = selection !== null && !selection.isCollapsed && selection.containsNode(shown, true);
      if (shown.contains(document.activeElement) || copied) continue;
      shown.replaceWith(document.adoptNode(section));
    }
  }

  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    clearTimeout(timer);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      const text = await answer.text();
      if (!(answer.headers.get("content-type") || "").startsWith("text/html")) throw new Error("not the page");
      replace(new DOMParser().parseFromString(text, "text/html"));
      tell(live() ? "Live: this page follows every change." : "This page asks again every few seconds.", false);
    } catch {
      tell("No answer from soxsd: what is shown is old. Trying again.", true);
    }
    busy = false;
    if (again) {
      again = false;
      setTimeout(refresh, 500);
    }
    timer = setTimeout(refresh, live() ? POLL_LIVE : POLL_ALONE);
  }

  if ("EventSource" in window) {
    events = new EventSource("/api/v1/events");
    events.addEventListener("changed", refresh);
    events.addEventListener("error", () => {
      clearTimeout(timer);
      timer = setTimeout(refresh, 1000);
    });
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });
  timer = setTimeout(refresh, POLL_ALONE);
})();
