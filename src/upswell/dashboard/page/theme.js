// Before anything is drawn: the theme that was chosen here before, else the system's.
try {
  const chosen = localStorage.getItem("upswell-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* storage may be forbidden: the system's theme then */ }
