// Keeps the page's content as the server has it, by changing what differs and
// leaving the rest, so that focus, selection and scroll position stay.
"use strict";
(() => {
  const content = document.getElementById("content");
  const connection = document.getElementById("connection");

  function key(node) {
    return node.nodeType === 1 ? node.getAttribute("data-key") : null;
  }

  function alike(a, b) {
    return a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);
  }

  // patch makes have's children equal to want's.
  function patch(have, want) {
    let at = have.firstChild;
    for (const w of Array.from(want.childNodes)) {
      let found = at;
      while (found && !alike(found, w)) found = found.nextSibling;
      if (!found) {
        have.insertBefore(document.importNode(w, true), at);
        continue;
      }
      while (at !== found) {
        const next = at.nextSibling;
        have.removeChild(at);
        at = next;
      }
      update(found, w);
      at = found.nextSibling;
    }
    while (at) {
      const next = at.nextSibling;
      have.removeChild(at);
      at = next;
    }
  }

  function update(have, want) {
    if (have.nodeType !== 1) {
      if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      return;
    }
    for (const a of Array.from(have.attributes)) {
      if (!want.hasAttribute(a.name)) have.removeAttribute(a.name);
    }
    for (const a of want.attributes) {
      if (have.getAttribute(a.name) !== a.value) have.setAttribute(a.name, a.value);
    }
    patch(have, want);
  }

  const source = new EventSource(location.pathname + "?live");
  source.onmessage = (e) => {
    const page = new DOMParser().parseFromString("<main>" + e.data + "</main>", "text/html");
    patch(content, page.querySelector("main"));
    connection.textContent = "live";
    connection.className = "on";
  };
  source.onerror = () => {
    connection.textContent = "not connected";
    connection.className = "off";
  };
})();
