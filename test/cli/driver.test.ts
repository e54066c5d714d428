// `backplane run --driver`: what is accepted, and what is said of a file that is no driver, or a bad one.

import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadDriver } from '../../src/cli/driver.ts';
import { UsageError } from '../../src/cli/errors.ts';
import type { DriverHost } from '../../src/drivers/index.ts';
import { MachineError } from '../../src/machine/index.ts';
import type { Ended } from '../run/node.ts';
import { assert, root, suite } from '../run/suite.ts';
import { backplane, keepFolder, withFolder } from './command.ts';

const test = suite('run --driver');

const OURS = pathToFileURL(`${root}dist/drivers.js`).href;
const GOOD = `import { attachAhci } from '${OURS}';\n`;

/** Runs a driver file with this text on AHCI. */
function run(name: string, text: string, more: readonly string[] = [], esbuild = false): Ended {
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

/** What loadDriver() says of a file with this text, or the driver's attach() when it is called. */
async function problem(name: string, text: string): Promise<string> {
  const { folder, done } = keepFolder();
  try {
    const file = join(folder, name);
    writeFileSync(file, text);
    const attach = await loadDriver(file);
    attach({} as DriverHost);
    return 'none';
  } catch (error) {
    assert.ok(error instanceof UsageError || error instanceof MachineError);
    return (error as Error).message;
  } finally {
    done();
  }
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

test('a driver may say that its controller takes more segments than Linux counts', () => {
  const text = `${GOOD}export default (host) => {
    const driver = attachAhci(host);
    driver.limits.maxSegments = 70_000;
    return driver;
  };\n`;
  const { status, stderr } = run('my.mjs', text);
  assert.is(stderr, '');
  assert.is(status, 0);
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

test('a file that is no driver is named, with what is missing', async () => {
  const wrong: readonly [name: string, text: string, expected: RegExp][] = [
    ['a.py', '', /\/a\.py: --driver takes JavaScript or TypeScript: \.js, \.mjs, \.ts/],
    ['b.mjs', 'export const attach = 1;', /\/b\.mjs has no default export; write export default function/],
    ['c.mjs', 'export default {};', /\/c\.mjs: the default export is no function/],
    ['d.mjs', '\nlet x = ;', /\/d\.mjs cannot be loaded: SyntaxError: Unexpected token ';', line 2/],
    ['e.mjs', "import 'nowhere';", /\/e\.mjs cannot be loaded: .*Cannot find package 'nowhere'/],
    ['f.mjs', "throw new Error('my own')", /\/f\.mjs cannot be loaded: Error: my own/],
  ];
  for (const [name, text, expected] of wrong) assert.match(await problem(name, text), expected);
  const { stderr, status, stdout } = backplane(['run', '--driver', '/no/such.mjs']);
  assert.match(stderr, /^backplane: \/no\/such\.mjs: there is no such file\n$/);
  assert.equal([status, stdout], [2, '']);
  assert.match(backplane(['run', '--driver', '']).stderr, /--driver is empty/);
});

test('what attach() returns must be a driver, and what is missing is named', async () => {
  const rest = '{ submit() {}, kick() {}, interrupt() {}, abort() {}, reset() {}, detach() {}';
  const numbers = 'limits: { addressBits: 32, maxSegments: 1, maxSegmentBytes: 1, boundaryMask: 1, ';
  const limits = `${numbers} virtBoundaryMask: 0, alignmentMask: 0, maxSectors: 1, queueDepth: 1 }`;
  const wrong: readonly [text: string, expected: RegExp][] = [
    ['() => { null.x; }', /\/\d+\.mjs: attach\(\) threw TypeError: .* \(\d+\.mjs:1\)/],
    ['async () => ({})', /attach\(\) returned a promise; it must return the driver itself/],
    ['() => 7', /attach\(\) returned no driver/],
    ['() => ({ submit() {} })', /has no kick\(\), interrupt\(\), abort\(\), reset\(\), detach\(\)/],
    [`() => (${rest} })`, /has no number in limits\.addressBits, limits\.maxSegments/],
    [`() => (${rest}, ${limits} })`, /the driver has no array of disks/],
    [`() => (${rest}, ${limits}, disks: [{ sectors: 1 }] })`, /disks\[0\] of the driver lacks sectors, or/],
    [`() => (${rest}, ${limits}, disks: [] })`, /none/],
  ];
  for (const [i, [text, expected]] of wrong.entries()) {
    assert.match(await problem(`${i}.mjs`, `export default ${text};`), expected);
  }
});

/** A driver that fails is a result, under either kernel: exit status 1, and its problem in the report. */
function fails(text: string, expected: RegExp): void {
  for (const kernel of ['linux', 'solaris']) {
    const { status, stdout, stderr } = run('my.mjs', text, ['--kernel', kernel]);
    assert.match(stdout + stderr, expected, kernel);
    assert.not.match(stderr, /our own fault/);
    assert.is(status, 1, stderr);
  }
}

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
  fails(wrap('driver.interrupt = () => true;'), /my\.mjs: irq-storm/);
  // Linux's glue leaves it to abort(); Solaris's resets the controller then, and the request fails.
  fails(wrap('driver.kick = driver.abort = () => {};'), /my\.mjs: deadlock|failed with errno 5/);
  fails(
    wrap('driver.kick = driver.abort = driver.reset = () => {};'),
    /my\.mjs: deadlock|failed with errno 5/,
  );
});
