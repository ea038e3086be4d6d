// Light, dark or projector, as chosen on this computer. Not a module and in the head, so that the first paint has it.
(() => {
  const KEY = "riad-display";
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem(KEY) ?? "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  };
  const show = (display) => {
    if (display === "auto") delete root.dataset.display;
    else root.dataset.display = display;
  };
  show(stored());
  globalThis.riadDisplay = {
    get: stored,
    set(display) {
      show(display);
      try {
        localStorage.setItem(KEY, display);
      } catch {
        // It holds until the page is closed.
      }
    },
  };
})();
