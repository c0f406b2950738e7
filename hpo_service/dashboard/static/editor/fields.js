// What may stand at a place of a study definition, from the JSON Schema at GET /schema and the recipes in it.
//
// fields(schema) → {at(parts, doc), suggestions(place, doc)}
//     at(parts, doc) → {title, description} of the field there, or null · doc is an outline
//     suggestions(place, doc) → [{label, insert, detail, description}]    insert may hold "$0": where the cursor goes

// What people write most comes first; the others stay in the order of the schema.
const FIRST = [
  "name",
  "objective",
  "constraints",
  "space",
  "algorithm",
  "trainer",
  "budget",
  "parallel",
  "resources",
  "metric",
  "direction",
  "type",
  "low",
  "high",
  "values",
];
const COMMON = [
  "uniform",
  "loguniform",
  "integer",
  "log_integer",
  "power_of_two",
  "choice",
  "ordinal",
  "auto",
  "hyperband",
  "asha",
  "random",
  "bayesian",
  "grid",
];
const LAST = new Set(["notes", "project", "deterministic", "priority", "repeats", "baseline", "retries"]);
const before = (list, name) => (list.includes(name) ? list.indexOf(name) : list.length);

export function fields(schema) {
  const recipes = schema["x-recipes"] || {};
  const resolve = (node) => (node?.$ref ? schema.$defs[node.$ref.split("/").at(-1)] : node);

  // A schema without what says "or null", and of several variants the one that the document names.
  function settled(node, parts, doc) {
    let one = resolve(node);
    const options = (one?.anyOf || []).filter((each) => each.type !== "null").map(resolve);
    if (options.length)
      one = { ...options[0], description: one.description || options[0].description, default: one.default, many: options };
    const { mapping, propertyName } = one?.discriminator || {};
    if (!mapping) return one;
    const named = doc.value([...parts, propertyName]);
    return { ...one, by: propertyName, chosen: mapping[named] ? resolve({ $ref: mapping[named] }) : null };
  }

  function schemaAt(parts, doc) {
    let node = settled(schema, [], doc);
    for (const [i, part] of parts.entries()) {
      const here = parts.slice(0, i);
      node = settled(inner(node, here, part, doc), [...here, part], doc);
      if (!node) return null;
    }
    return node;
  }

  function inner(node, here, part, doc) {
    const from = node.chosen || node;
    if (here.join(".") === "trainer.params") return recipe(doc)?.parameters[part] || {};
    if (here.at(-1) === "when" || (here[0] === "forbid" && here.length === 2)) return { valuesOf: part };
    if (from.properties?.[part]) return from.properties[part];
    if (node.by && !node.chosen && part === node.by) return { enum: Object.keys(node.discriminator.mapping) };
    if (from.type === "array" || from.items) return from.items;
    if (from.many?.some((each) => each.type === "array")) return from.many.find((each) => each.type === "array").items;
    return typeof from.additionalProperties === "object" ? from.additionalProperties : null;
  }

  const recipe = (doc) => recipes[doc.value(["trainer", "recipe"])] || null;

  function at(parts, doc) {
    if (!parts.length) return null;
    const node = schemaAt(parts, doc);
    const tuned = parts[0] === "space" && parts.length === 2 ? recipe(doc)?.parameters[parts[1]] : null;
    const kind = node?.chosen ? `${doc.value([...parts, node.by])}: ${node.chosen.description}` : "";
    const words = [tuned?.description, kind, !tuned && !kind && node?.description, facts(tuned || node)].filter(Boolean);
    return words.length ? { title: parts.join("."), description: words.join(" ") } : null;
  }

  function suggestions(place, doc) {
    return place.kind === "key" ? keys(place, doc) : values(place, doc);
  }

  function keys({ parts, flow, word }, doc) {
    const node = schemaAt(parts, doc);
    const taken = new Set(doc.keys(parts).filter((name) => name !== word));
    return offered(node, parts, doc)
      .filter(({ label }) => !taken.has(label))
      .map((one) => ({ ...one, insert: one.insert || `${one.label}:${opener(one.node, flow)}` }));
  }

  function offered(node, parts, doc) {
    const trainer = recipe(doc);
    if (parts.join(".") === "trainer.params") return described(trainer?.parameters, []);
    if (parts.join(".") === "space") return tunable(trainer, doc);
    if (parts.at(-1) === "when" || (parts[0] === "forbid" && parts.length === 2))
      return doc
        .keys(["space"])
        .filter((name) => name !== parts[1])
        .map((name) => ({ label: name, detail: "a parameter" }));
    if (!node) return [];
    if (node.by && !node.chosen) return [{ label: node.by, detail: "which one", description: node.description, node: {} }];
    const from = node.chosen || node;
    return described(from.properties, from.required || []);
  }

  function described(properties, required) {
    const order = ([name]) => (required.includes(name) ? 0 : LAST.has(name) ? 200 : 100) + before(FIRST, name);
    return Object.entries(properties || {})
      .sort((a, b) => order(a) - order(b))
      .map(([name, given]) => {
        const node = settled(given, [], { value: () => null });
        const detail = required.includes(name) ? "needed" : node.default === undefined || node.default === null ? "" : short(node.default);
        return { label: name, detail, description: [node.description, facts(node)].filter(Boolean).join(" "), node };
      });
  }

  function tunable(trainer, doc) {
    const model = doc.value(["trainer", "params", "model"]);
    const usable = Object.entries(trainer?.parameters || {}).filter(
      ([, one]) => one["x-tunable"] && (!model || !one["x-models"] || one["x-models"].includes(model)),
    );
    const fixed = new Set(doc.keys(["trainer", "params"]));
    return usable
      .filter(([name]) => !fixed.has(name) && name !== "epochs")
      .map(([name, one]) => ({
        label: name,
        detail: one.default === undefined ? "" : short(one.default),
        description: [one.description, facts(one)].join(" "),
        insert: `${name}: ${dimension(one)}`,
      }));
  }

  function values({ parts, flow }, doc) {
    const path = parts.join(".");
    if (path === "trainer.recipe") return Object.entries(recipes).map(([name, one]) => ({ label: name, description: one.description }));
    if (parts[0] === "objective" && parts.at(-1) === "metric")
      return metrics(recipe(doc)).map(([name, one]) => ({ label: name, detail: one.direction || "", description: one.description }));
    const node = schemaAt(parts, doc);
    if (!node) return [];
    if (node.valuesOf) return valuesOf(node.valuesOf, doc).map((label) => ({ label }));
    if (node.by)
      return common(Object.keys(node.discriminator.mapping)).map((name) =>
        variant(name, resolve({ $ref: node.discriminator.mapping[name] }), node.by),
      );
    const listed = node.enum || (node.const !== undefined ? [node.const] : node.type === "boolean" ? [true, false] : []);
    const named = parts.at(-1) && variants(parts, doc);
    return common(listed).map((one) => ({
      label: String(one),
      detail: one === node.default ? "default" : "",
      description: named?.[one]?.description || node.description || "",
      insert: flow ? null : undefined,
    }));
  }

  // The variants among which a `name` or `type` chooses, to describe each one.
  function variants(parts, doc) {
    const parent = schemaAt(parts.slice(0, -1), doc);
    if (parent?.by !== parts.at(-1)) return null;
    return Object.fromEntries(Object.entries(parent.discriminator.mapping).map(([name, ref]) => [name, resolve({ $ref: ref })]));
  }

  function valuesOf(name, doc) {
    const count = doc.entries.findIndex((one) => one.parts.join(".") === `space.${name}.values`);
    return count < 0 ? [] : doc.choices(name);
  }

  return { at, suggestions };
}

const metrics = (recipe) =>
  Object.entries(recipe?.metrics || {}).sort(([a], [b]) => (b === recipe.default_metric) - (a === recipe.default_metric));

function variant(name, schema, by) {
  const needed = (schema.required || []).filter((field) => field !== by);
  const rest = needed.map((field, i) => `${field}: ${i ? "" : "$0"}${schema.properties[field].type === "array" ? "[]" : ""}`);
  return {
    label: name,
    detail: needed.join(", "),
    description: schema.description,
    insert: `{${[`${by}: ${name}`, ...rest].join(", ")}}${rest.length ? "" : "$0"}`,
  };
}

function dimension(one) {
  if (one.enum) return `{type: choice, values: [${one.enum.join(", ")}]}$0`;
  if (one.type === "integer") return "{type: integer, low: $0, high: }";
  return `{type: ${one.minimum > 0 ? "loguniform" : "uniform"}, low: $0, high: }`;
}

const opener = (node, flow) => {
  const type = node?.type || (node?.properties || node?.by ? "object" : "");
  if (type === "object" || node?.by) return node?.additionalProperties && !flow && !node.properties ? "\n  $0" : " {$0}";
  return type === "array" ? " [$0]" : " $0";
};

const common = (names) => [...names].sort((a, b) => before(COMMON, a) - before(COMMON, b));

const short = (value) => {
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
};

function facts(node) {
  if (!node) return "";
  const low = node.minimum ?? (node.exclusiveMinimum !== undefined ? `> ${node.exclusiveMinimum}` : null);
  const range = low !== null && node.maximum !== undefined ? `${low} to ${node.maximum}.` : "";
  const choice = node.enum ? `One of ${node.enum.join(", ")}.` : "";
  const fallback =
    node.default !== undefined && node.default !== null && typeof node.default !== "object" && node.default !== ""
      ? `Left out: ${node.default}.`
      : "";
  return [choice || range, fallback].filter(Boolean).join(" ");
}
