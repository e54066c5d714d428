// How a validation problem reads: which field, what stands there, and what would be right.

import type * as v from 'valibot';

/** One line for an issue that valibot found. `whole` names the thing as a whole: "the scenario". */
export function describeIssue(issue: v.BaseIssue<unknown>, schema: unknown, whole: string): string {
  const where = pathOf(issue);
  const name = where === '' ? whole : where;
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const known = fieldsAt(
      schema,
      (issue.path ?? []).slice(0, -1).map((item) => item.key),
    );
    return `${name} is no field of ${whole}${known.length === 0 ? '' : `; known there are ${known.join(', ')}`}`;
  }
  if (issue.received === 'undefined') return `${name} is missing`;
  const value = JSON.stringify(issue.input)?.slice(0, 60);
  if (issue.type === 'strict_object') return `${name} is ${value}; it must be an object`;
  if (issue.type === 'array') return `${name} is ${value}; it must be a list`;
  return `${name} is ${value}; it ${issue.message}`;
}

function pathOf(issue: v.BaseIssue<unknown>): string {
  let path = '';
  for (const item of issue.path ?? []) {
    path += typeof item.key === 'number' ? `[${item.key}]` : `${path === '' ? '' : '.'}${String(item.key)}`;
  }
  return path;
}

interface SchemaNode {
  readonly type?: string;
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly item?: SchemaNode;
  readonly wrapped?: SchemaNode;
  readonly pipe?: readonly SchemaNode[];
  readonly options?: readonly SchemaNode[];
}

/** The fields that the object at `path` may have. */
function fieldsAt(schema: unknown, path: readonly unknown[]): string[] {
  let node = unwrap(schema as SchemaNode);
  for (const key of path) {
    const next = typeof key === 'number' ? node.item : node.entries?.[String(key)];
    if (next === undefined) return [];
    node = unwrap(next);
  }
  return Object.keys(node.entries ?? {});
}

/** Looks through optional(), pipe() and variant() at what they stand for. */
function unwrap(node: SchemaNode): SchemaNode {
  if (node.wrapped !== undefined) return unwrap(node.wrapped);
  if (node.pipe?.[0] !== undefined && node.pipe[0] !== node) return unwrap(node.pipe[0]);
  if (node.type === 'variant' && node.options?.[0] !== undefined) return unwrap(node.options[0]);
  return node;
}
