// Sections fold, and the contents bar leads to them.
const CLOSED = new Set(["unranked"]); // until they are opened
const folds = [...document.querySelectorAll("#main details")];
const contents = [...document.querySelectorAll(".contents a")];
const idOf = (fold) => fold.parentElement.id;

/** The ids of the sections that are not as they are at first, as the address names them. */
const folded = () => folds.filter((fold) => fold.open === CLOSED.has(idOf(fold))).map(idOf).join(",");

function foldSections() {
  const toggled = new Set(state.fold.split(","));
  for (const fold of folds) fold.open = CLOSED.has(idOf(fold)) === toggled.has(idOf(fold));
}

function visitSection(id) {
  const fold = folds.find((one) => idOf(one) === id);
  if (!fold || fold.parentElement.hidden) return;
  fold.open = true;
  go({ section: id, fold: folded() }, { replace: true });
  fold.parentElement.scrollIntoView();
}

function beginSections() {
  for (const fold of folds) {
    fold.addEventListener("toggle", () => { if (folded() !== state.fold) go({ fold: folded() }, { replace: true }); });
  }
  for (const link of contents) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      visitSection(link.dataset.section);
      folds.find((fold) => idOf(fold) === link.dataset.section).querySelector("summary").focus({ preventScroll: true });
    });
  }
  const bar = document.querySelector(".bar");
  const narrowBar = document.querySelector(".contents");
  new ResizeObserver(() => {
    document.documentElement.style.scrollPaddingTop = `${(isNarrow() ? narrowBar : bar).offsetHeight + 8}px`;
  }).observe(document.body);
  const inBand = new Set(); // a narrow band across the window: short sections share it
  const inView = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) inBand[isIntersecting ? "add" : "delete"](target.id);
    const current = contents.find((link) => inBand.has(link.dataset.section));
    if (!current) return; // between two sections: the mark stays
    for (const link of contents) link.removeAttribute("aria-current");
    current.setAttribute("aria-current", "true");
  }, { rootMargin: "-40% 0px -59% 0px" });
  for (const fold of folds) inView.observe(fold.parentElement);
}
