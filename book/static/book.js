// What scrolls sideways can be reached with the keyboard, too.
function reachScrolling() {
  for (const box of document.querySelectorAll(".output, pre, .pst-scrollable-table-container, .table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    }
  }
}
addEventListener("load", reachScrolling);
addEventListener("resize", reachScrolling);
