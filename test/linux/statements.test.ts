// Every numbered statement of the specification has a test whose name begins with its number, or says in
// docs/ARCHITECTURE.md that it is not implemented: so a test that is lost is noticed.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, suite } from '../run/suite.ts';

const test = suite('statements of the specification');

const HEADING = '## Statements of the specification that are not followed';

/** Statements of the sections that are implemented: the group, and its first and last numbers. */
const STATEMENTS: readonly (readonly [group: string, first: number, last: number])[] = [
  ['POOL-', 1, 10],
  ['BIO-', 1, 13],
  ['LIFE-', 1, 23],
  ['GMR-', 1, 11],
  ['GMR-', 20, 20],
  ['RSC-', 1, 8],
  ['DLK-', 1, 12],
  ['LIM-', 1, 8],
  ['SPL-', 1, 6],
  ['SG-', 1, 6],
  ['MAP-', 1, 25],
  ['MAP-X', 1, 6],
  ['UNM-', 1, 6],
  ['BNC-', 1, 11],
  ['REQ-', 1, 5],
  ['GUP-', 1, 28],
  ['PG-', 1, 2],
  ['DMIO-', 1, 19],
  ['MPAGE-', 1, 15],
  ['BRFP-', 1, 5],
  ['DMA-', 1, 9],
];

/** `MAP-05`, `MAP-X1`. */
function idOf(group: string, number: number): string {
  return group + String(number).padStart(group.endsWith('X') ? 1 : 2, '0');
}

function range(group: string, first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => idOf(group, first + i));
}

/** Numbers at the beginning of the name of any test: `test('MAP-09 MAP-17 more than 256 …` has two. */
function tested(): Set<string> {
  const ids = new Set<string>();
  for (const file of readdirSync('test', { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.test.ts')) continue;
    const text = readFileSync(join('test', file), 'utf8');
    for (const [, title] of text.matchAll(/\btest\(\s*['"`]((?:[A-Z]+-X?\d+\s+)+)/g)) {
      for (const id of (title ?? '').trim().split(/\s+/)) ids.add(id);
    }
  }
  return ids;
}

/** Numbers in the first column of the table, `MAP-05`, `SPL-01 to SPL-06`, where the second begins with `what`. */
function notFollowed(what = ''): Set<string> {
  const [, rest = ''] = readFileSync('docs/ARCHITECTURE.md', 'utf8').split(HEADING);
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

const all = new Set(STATEMENTS.flatMap(([group, first, last]) => range(group, first, last)));

test('every statement is tested, or in the table as one that is not implemented', () => {
  const found = tested();
  const excused = notFollowed('not implemented');
  assert.ok(notFollowed().size > 0);
  assert.equal(
    [...all].filter((id) => !found.has(id) && !excused.has(id)),
    [],
  );
});

test('the table names statements that exist', () => {
  assert.equal(
    [...notFollowed()].filter((id) => !all.has(id)),
    [],
  );
});
