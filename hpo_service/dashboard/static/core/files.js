// Handing a text or a blob to the reader: as a file, or to the clipboard.
//
// save(text|blob, filename, type?) · copy(text) → Promise<boolean>, whether the browser allowed it

export function save(content, filename, type = "") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 30000);
}

export async function copy(text) {
  if (navigator.clipboard)
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  return byHand(text);
}

// navigator.clipboard exists on secure origins only.
function byHand(text) {
  const area = document.body.appendChild(document.createElement("textarea"));
  area.value = text;
  area.style.cssText = "position:fixed;opacity:0";
  area.select();
  const worked = document.execCommand("copy");
  area.remove();
  return worked;
}
