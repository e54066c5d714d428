// `backplane run --driver`: what is accepted, and what is said of a file that is no driver, or a bad one.

import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assert, root, suite } from '../run/suite.ts';
import { backplane, type Result, withFolder } from './command.ts';

const test = suite('run --driver');

const OURS = pathToFileURL(`${root}dist/drivers.js`).href;
const GOOD = `import { attachAhci } from '${OURS}';\n`;

/** Runs a driver file with this text on AHCI. */
function run(name: string, text: string, more: readonly string[] = [], esbuild = false): Result {
  return withFolder((folder) => {
    const file = join(folder, name);
    writeFileSync(file, text);
    writeFileSync(join(folder, 'data'), new Uint8Array(5000).fill(7));
    if (esbuild) {
      mkdirSync(join(folder, 'node_modules'));
      symlinkSync(`${root}node_modules/esbuild`, join(folder, 'node_modules/esbuild'));
    }
    const before = readdirSync(folder);
    const args = ['run', '--file', join(folder, 'data'), '--controller', 'ahci', '--driver', file, ...more];
    const result = backplane(args);
    assert.equal(readdirSync(folder), before);
    return result;
  });
}

function refused(name: string, text: string, expected: RegExp): void {
  const { status, stdout, stderr } = run(name, text);
  assert.match(stderr, expected);
  assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
  assert.is(stdout, '');
  assert.is(status, 2);
}

test('a driver in JavaScript programs the controller, and stands in the report', () => {
  const text = `${GOOD}export default (host) => attachAhci(host);\n`;
  const { status, stdout, stderr } = run('my.mjs', text, ['--json']);
  assert.is(stderr, '');
  assert.is(status, 0);
  const report = JSON.parse(stdout) as { ok: boolean; driver: string; parts: { commands: number }[] };
  assert.ok(report.ok);
  assert.match(report.driver, /\/my\.mjs$/);
  assert.ok((report.parts[0]?.commands ?? 0) > 0);
  assert.match(run('my.mjs', text).stdout, /^ {3}driver {4}\S+\/my\.mjs$/m);
});

test('a driver in TypeScript runs, with imports of its own, and leaves no file behind', () => {
  const text = `${GOOD}enum Mode { Plain }
    interface Host { readonly mode?: Mode }
    export default function attach(host: Host) { return attachAhci(host as never); }\n`;
  const { status, stderr } = run('my.ts', text, [], true);
  assert.is(stderr, '');
  assert.is(status, 0);
  const bad = run('my.ts', 'export default function (: string) {}\n', [], true);
  assert.match(bad.stderr, /^backplane: \S+\/my\.ts cannot be loaded: .*line 1\n$/);
  assert.is(bad.status, 2);
});

test('a file that is no driver is named, with what is missing', () => {
  refused('my.py', '', /\/my\.py: --driver takes JavaScript or TypeScript: \.js, \.mjs, \.ts/);
  refused(
    'my.mjs',
    'export const attach = 1;',
    /\/my\.mjs has no default export; write export default function/,
  );
  refused('my.mjs', 'export default {};', /\/my\.mjs: the default export is no function/);
  refused('my.mjs', 'let x = ;', /\/my\.mjs cannot be loaded: SyntaxError: Unexpected token ';', line 1/);
  refused('my.mjs', "import 'nowhere';", /\/my\.mjs cannot be loaded: .*Cannot find package 'nowhere'/);
  const { stderr, status } = backplane(['run', '--driver', '/no/such.mjs']);
  assert.match(stderr, /\/no\/such\.mjs: there is no such file/);
  assert.is(status, 2);
  assert.match(backplane(['run', '--driver', '']).stderr, /--driver is empty/);
});

/** A driver that fails is a result: exit status 1, and its problem in the report. */
function fails(text: string, expected: RegExp): void {
  const { status, stdout, stderr } = run('my.mjs', text);
  assert.match(stdout + stderr, expected);
  assert.not.match(stderr, /our own fault/);
  assert.is(status, 1, stderr);
}

test('a driver that cannot attach, or is none, is a result that says why', () => {
  fails('export default () => { null.x; };', /my\.mjs: attach\(\) threw TypeError: .* \(my\.mjs:1\)/);
  fails('export default async () => ({});', /my\.mjs: attach\(\) returned a promise/);
  fails(
    'export default () => ({ submit() {} });',
    /has no kick\(\), interrupt\(\), abort\(\), reset\(\), detach\(\)/,
  );
  const rest = '{ submit() {}, kick() {}, interrupt() {}, abort() {}, reset() {}, detach() {}';
  fails(`export default () => (${rest} });`, /has no number in limits\.addressBits, limits\.maxSegments/);
  const limits = GOOD.replace(';', `; const l = (h) => attachAhci(h).limits;`);
  fails(
    `${limits}export default (h) => (${rest}, limits: l(h), disks: [{}] });`,
    /disks\[0\] of the driver lacks/,
  );
});

test('a driver that throws later, or never ends a command, is blamed by its file', () => {
  const wrap = (change: string): string => `${GOOD}export default (host) => {
  const d = attachAhci(host);
  const driver = { limits: d.limits, disks: d.disks };
  for (const name of ['submit', 'kick', 'interrupt', 'abort', 'reset', 'detach']) driver[name] = (x) => d[name](x);
  ${change}
  return driver;
};\n`;
  fails(
    wrap('driver.kick = () => { throw new RangeError("no"); };'),
    /kick\(\) threw RangeError: no \(my\.mjs:6\)/,
  );
  fails(wrap('driver.interrupt = () => undefined.x;'), /interrupt\(\) threw TypeError/);
  fails(wrap('driver.interrupt = () => true;'), /my\.mjs: irq-storm/);
  fails(wrap('driver.kick = driver.abort = () => {};'), /my\.mjs: deadlock/);
});
