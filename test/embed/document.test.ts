// docs/EMBEDDING.md is what a host without JavaScript is written from: what it lists is what the module has.

import * as busCodes from '../../assembly/bus/codes.ts';
import * as guardCodes from '../../assembly/bus/guard-codes.ts';
import * as layout from '../../assembly/bus/layout.ts';
import * as mediaCodes from '../../assembly/media/codes.ts';
import { CONTROLLERS, parameterOf } from '../../src/controllers/index.ts';
import { loadModule } from '../../src/machine/index.ts';
import { read } from '../run/sources.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('embed: document');
const PAGE = read('docs/EMBEDDING.md');
const constants: Readonly<Record<string, number>> = { ...layout, ...busCodes, ...guardCodes, ...mediaCodes };

/** What stands below a heading, to the next one. */
function section(title: string): string {
  const [, rest = ''] = PAGE.split(`### ${title}\n`);
  return rest.split(/^##/m)[0] ?? '';
}

/** `name(a, b)` in the first column of a table, as name and number of parameters. */
function calls(title: string): [name: string, parameters: number][] {
  const rows = section(title).matchAll(/^\| `(\w+)\(([^)]*)\)` \|/gm);
  return Array.from(rows, ([, name = '', list = '']) => [name, list === '' ? 0 : list.split(',').length]);
}

const sorted = (list: [string, number][]) => list.sort(([a], [b]) => (a < b ? -1 : 1));

/** Functions of a file of assembly/, as name and number of parameters. */
function declared(path: string, pattern: RegExp): [string, number][] {
  return Array.from(read(path).matchAll(pattern), ([, name = '', list = '']) => [
    name,
    list.split(',').filter((parameter) => parameter.trim() !== '').length,
  ]);
}

for (const flavour of ['release', 'debug'] as const) {
  test(`EMB-70 the page lists every export and import of the ${flavour} module, with their parameters`, async () => {
    const module = await loadModule(flavour);
    const exports = WebAssembly.Module.exports(module).map(({ name }) => name);
    assert.equal(
      calls('Exports')
        .map(([name]) => name)
        .sort(),
      exports.sort(),
    );
    assert.equal(
      sorted(calls('Exports')),
      sorted(declared('assembly/index.ts', /^export function (\w+)\(([^)]*)\)/gm)),
    );
    const imports = WebAssembly.Module.imports(module).map((item) => `${item.module}.${item.name}`);
    const abort = flavour === 'debug' ? ['env.abort'] : [];
    const listed = calls('Imports').map(([name]) => `host.${name}`);
    assert.equal(imports.sort(), [...listed, ...abort, 'env.memory'].sort());
    assert.equal(
      sorted(calls('Imports')),
      sorted(declared('assembly/host.ts', /^export declare function (\w+)\(([^)]*)\)/gm)),
    );
  });
}

test('EMB-71 every constant of the page has its value, and so has every one of the C host', () => {
  const inPage = Array.from(section('Memory').matchAll(/`([A-Z][A-Z0-9_]+)` \| (0x[0-9a-f]+|\d+) \|/g));
  assert.ok(inPage.length > 50);
  const inHost = Array.from(
    read('examples/embed-c/host.c').matchAll(/\b([A-Z][A-Z0-9_]+) = (0x[0-9a-f]+|\d+)/g),
  ).filter(([, name = '']) => name in constants);
  assert.is(inHost.length, 9);
  for (const [, name = '', value] of [...inPage, ...inHost]) assert.is(Number(value), constants[name], name);
});

test('EMB-72 every word of the first profiles is listed', () => {
  for (const description of CONTROLLERS) {
    const [profile] = description.profiles;
    assert.ok(profile);
    const { pci } = profile;
    const ids = [
      pci?.vendor,
      pci?.device,
      pci?.subsystemVendor ?? pci?.vendor,
      pci?.subsystem ?? pci?.device,
      pci?.revision ?? 0,
    ];
    const words = Object.entries(description.parameters)
      .sort(([, a], [, b]) => a.word - b.word)
      .map(([name, { word }]) => `${word} ${name} ${parameterOf(description, profile, name)}`);
    const head = pci === undefined ? '–' : ids.map((id) => `0x${Number(id).toString(16)}`).join(' ');
    const row = `| \`${description.kind}\` | ${profile.addressBits} | ${head} | ${words.join(', ')} |`;
    assert.ok(section('Profiles').includes(row), `the page should have: ${row}`);
  }
});

test('EMB-73 the library for embedders asks for nothing but the language', () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = read(`dist/${file}`);
    for (const [, specifier = ''] of text.matchAll(/^\s*(?:import|export)\b[^;]*?\bfrom\s*"([^"]+)"/gm)) {
      assert.match(specifier, /^\.\//, `${file} imports ${specifier}`);
      visit(specifier.slice(2));
    }
    assert.not.match(text, /^import "node:/m);
  };
  visit('embed.js');
  assert.ok(seen.size > 1);
});
