// Style is itself a test: what docs/ARCHITECTURE.md promises about the code, checked on the code.

import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { ARENA_BASE } from '../assembly/bus/layout.ts';
import { code, filesBelow, grep, read } from './run/sources.ts';
import { assert, root, suite } from './run/suite.ts';
import { wasmFacts } from './run/wasm-file.ts';

const test = suite('tidy');

/** What the files in a folder of src/ may import from other folders of src/; each may import assembly/. */
const MAY_IMPORT: Record<string, string[]> = {
  trace: [],
  guard: ['trace'],
  media: ['trace'],
  controllers: [],
  scripts: [],
  machine: ['controllers', 'guard', 'media', 'trace'],
  kernel: ['machine', 'guard', 'media', 'trace'],
  drivers: ['scripts', 'kernel', 'controllers', 'machine', 'guard', 'media', 'trace'],
  linux: ['drivers', 'kernel', 'machine', 'guard', 'media', 'trace'],
  solaris: ['drivers', 'kernel', 'machine', 'guard', 'media', 'trace'],
  embed: ['controllers', 'machine', 'guard', 'media', 'trace'],
  v86: ['embed', 'controllers', 'machine', 'guard', 'media', 'trace'],
  qtest: ['controllers', 'machine', 'guard', 'media', 'trace'],
  fuzz: [
    'scenario',
    'linux',
    'solaris',
    'drivers',
    'kernel',
    'controllers',
    'machine',
    'guard',
    'media',
    'trace',
  ],
  scenario: ['linux', 'solaris', 'drivers', 'kernel', 'controllers', 'machine', 'guard', 'media', 'trace'],
  cli: [
    'qtest',
    'scenario',
    'fuzz',
    'embed',
    'scripts',
    'linux',
    'solaris',
    'drivers',
    'kernel',
    'controllers',
    'machine',
    'guard',
    'media',
    'trace',
  ],
  lab: [
    'scenario',
    'fuzz',
    'embed',
    'scripts',
    'linux',
    'solaris',
    'drivers',
    'kernel',
    'controllers',
    'machine',
    'guard',
    'media',
    'trace',
  ],
};

const MAX_LINES = 700;
const sources = filesBelow(['src'], '.ts');
const hardware = filesBelow(['assembly'], '.ts');

/** The files that a source file imports by a relative path, types included; paths from the project's root. */
function importsOf(path: string): string[] {
  const specifiers = code(path).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*(['"])(\.[^'"]+)\1/g);
  return Array.from(specifiers, ([, , specifier]) => posix.join(posix.dirname(path), specifier ?? ''));
}

/** `linux` for src/linux/bio.ts; empty for what lies elsewhere, or in src/ itself. */
function folderOf(path: string): string {
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? '';
}

const shared = new Set(sources.flatMap(importsOf).filter((path) => path.startsWith('assembly/')));
const constantFiles = hardware.filter(
  (path) => /(?:^|[/-])(?:regs|codes)\.ts$/.test(path) || shared.has(path),
);

test('TIDY-01 what both compilers read is literals below 2³², no expressions', () => {
  const literal = /^export const \w+ = (0x[\da-f_]+|\d[\d_]*);$/i;
  const offenders = constantFiles.flatMap((path) =>
    grep(/\S/, path, code(path)).filter((hit) => {
      const value = literal.exec(hit.slice(hit.indexOf(' ') + 1))?.[1];
      return value === undefined || Number(value.replaceAll('_', '')) >= 2 ** 32;
    }),
  );
  assert.ok(constantFiles.length > 0);
  assert.equal(offenders, []);
});

for (const flavour of ['backplane.wasm', 'backplane.debug.wasm']) {
  test(`TIDY-02 ${flavour} has no mutable global, and its static data ends below the arena`, () => {
    const facts = wasmFacts(readFileSync(`${root}dist/${flavour}`));
    assert.is(facts.mutableGlobals, 0);
    assert.ok(facts.dataEnd <= ARENA_BASE, `static data ends at 0x${facts.dataEnd.toString(16)}`);
  });
}

test(`TIDY-03 no file is longer than ${MAX_LINES} lines`, () => {
  const files = [...sources, ...hardware, ...filesBelow(['scripts', 'bin'], '.mjs', '.ts')];
  const lines = (path: string): number => read(path).split('\n').length - 1;
  const offenders = files.filter((path) => lines(path) > MAX_LINES).map((path) => `${path}: ${lines(path)}`);
  assert.equal(offenders, []);
});

test('TIDY-04 imports point forward along the way of a byte', () => {
  const offenders: string[] = [];
  for (const path of sources) {
    const folder = folderOf(path);
    if (folder === '') continue;
    for (const target of importsOf(path)) {
      const to = folderOf(target);
      const ahead = target.startsWith('src/')
        ? (MAY_IMPORT[folder] ?? []).includes(to)
        : !/^(test|scripts)\//.test(target);
      if (to !== folder && !ahead) offenders.push(`${path} imports ${target}`);
    }
  }
  assert.equal(offenders, []);
});

test('TIDY-05 time and chance come from the virtual clock and the seed', () => {
  const pattern =
    /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bcrypto\.(?:random|getRandom)/;
  const files = [...sources.filter((path) => folderOf(path) !== 'cli'), ...hardware];
  assert.equal(
    files.flatMap((path) => grep(pattern, path, code(path))),
    [],
  );
});

test('TIDY-06 nothing is left to do', () => {
  const pattern = /\b(?:TODO|FIXME|XXX)\b/;
  assert.equal(
    [...sources, ...hardware].flatMap((path) => grep(pattern, path, read(path))),
    [],
  );
});

test('TIDY-07 the host is imported in assembly/host.ts alone', () => {
  const files = hardware.filter((path) => path !== 'assembly/host.ts');
  assert.equal(
    files.flatMap((path) => grep(/\bdeclare function\b|@external\b/, path, code(path))),
    [],
  );
});

test('TIDY-08 no BigInt and no DataView on the way of a byte', () => {
  const pattern = /\b(?:BigInt|DataView|BigU?[Ii]nt64Array)\b|\b\d+n\b/;
  const hot = sources.filter((path) => ['machine', 'drivers', 'linux'].includes(folderOf(path)));
  assert.equal(
    hot.flatMap((path) => grep(pattern, path, code(path))),
    [],
  );
});

test('TIDY-09 no folder of src/ is without a rule for its imports', () => {
  const folders = new Set(sources.map(folderOf).filter((folder) => folder !== ''));
  assert.equal(
    [...folders].filter((folder) => MAY_IMPORT[folder] === undefined),
    [],
  );
});
