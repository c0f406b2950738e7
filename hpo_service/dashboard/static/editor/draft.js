// What was typed and not submitted yet: kept in this browser, so that nothing is lost.
//
// draft.read(name) → text | null · draft.keep(name, text) · draft.forget(name)      name: "new", or "clone:ID"

const key = (name) => `hpo-draft-${name}`;

export const draft = {
  read(name) {
    try {
      return localStorage.getItem(key(name));
    } catch {
      return null;
    }
  },
  keep(name, text) {
    try {
      localStorage.setItem(key(name), text);
    } catch {
      /* storage is full or closed to us: the text is still in the page */
    }
  },
  forget(name) {
    try {
      localStorage.removeItem(key(name));
    } catch {
      /* as above */
    }
  },
};
