// Every numbered statement of a specification has a test whose name begins with its number, or says in
// docs/ARCHITECTURE.md that it is not implemented: so a test that is lost is noticed.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, suite } from './run/suite.ts';

/** Statements that are implemented: the group, and its first and last numbers. */
export type Statements = readonly (readonly [group: string, first: number, last: number])[];

export interface Specification {
  /** For the name of the suite. */
  readonly name: string;
  readonly statements: Statements;
  /** Heading of the table in docs/ARCHITECTURE.md that lists what is not followed. */
  readonly heading: string;
  /** Whether the tests in a file, by its path below test/, count. */
  readonly tests: (path: string) => boolean;
}

/** `MAP-05`, `MAP-X1`. */
function idOf(group: string, number: number): string {
  return group + String(number).padStart(group.endsWith('X') ? 1 : 2, '0');
}

function range(group: string, first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => idOf(group, first + i));
}

/** Numbers at the beginning of the name of any test: `test('MAP-09 MAP-17 more than 256 …` has two. */
function tested(spec: Specification): Set<string> {
  const ids = new Set<string>();
  for (const file of readdirSync('test', { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.test.ts') || !spec.tests(file)) continue;
    const text = readFileSync(join('test', file), 'utf8');
    for (const [, title] of text.matchAll(/\btest\(\s*['"`]((?:[A-Z]+-X?\d+\s+)+)/g)) {
      for (const id of (title ?? '').trim().split(/\s+/)) ids.add(id);
    }
  }
  return ids;
}

/** Numbers in the first column of the table, `MAP-05`, `SPL-01 to SPL-06`, where the second begins with `what`. */
function notFollowed(spec: Specification, what = ''): Set<string> {
  const [, rest = ''] = readFileSync('docs/ARCHITECTURE.md', 'utf8').split(`${spec.heading}\n`);
  const ids = new Set<string>();
  for (const line of rest.split('\n## ')[0]?.split('\n') ?? []) {
    const [, cell = '', column = ''] = line.split('|');
    if (!column.trim().startsWith(what)) continue;
    for (const [, from = '', group = '', last] of cell.matchAll(/(([A-Z]+-X?)\d+)(?: to [A-Z]+-X?(\d+))?/g)) {
      const first = Number(from.slice(group.length));
      for (const id of range(group, first, Number(last ?? first))) ids.add(id);
    }
  }
  return ids;
}

/** Adds the suite that checks a specification. */
export function checkStatements(spec: Specification): void {
  const test = suite(`statements of ${spec.name}`);
  const all = new Set(spec.statements.flatMap(([group, first, last]) => range(group, first, last)));

  test('every statement is tested, or in the table as one that is not implemented', () => {
    const found = tested(spec);
    const excused = notFollowed(spec, 'not implemented');
    assert.ok(notFollowed(spec).size > 0);
    assert.equal(
      [...all].filter((id) => !found.has(id) && !excused.has(id)),
      [],
    );
  });

  test('the table names statements that exist', () => {
    assert.equal(
      [...notFollowed(spec)].filter((id) => !all.has(id)),
      [],
    );
  });
}
