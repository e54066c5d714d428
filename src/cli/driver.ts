// `--driver`: a driver of the user's own in the place of ours. Loads the file, and stands between it and the run, so that
// what the driver gets wrong is reported as the driver's, with its file.

import { spawnSync } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Driver, DriverHost } from '../drivers/index.ts';
import { DeadlockError, KernelBug } from '../kernel/index.ts';
import { MachineError } from '../machine/index.ts';
import { UsageError } from './errors.ts';
import { attempt } from './input.ts';
import { formatPath, oneLine } from './style.ts';

/** Makes a driver for a controller; throws where it finds no disk. */
export type AttachDriver = (host: DriverHost) => Driver;

const PLAIN = ['.js', '.mjs', '.cjs'];
const TYPED = ['.ts', '.mts', '.cts'];
const METHODS = ['submit', 'kick', 'interrupt', 'abort', 'reset', 'detach'] as const;
const LIMITS = [
  'addressBits',
  'maxSegments',
  'maxSegmentBytes',
  'boundaryMask',
  'virtBoundaryMask',
  'alignmentMask',
  'maxSectors',
  'queueDepth',
] as const;
const SHAPE = 'export default function attach(host) { … return driver }';

/** A driver of the user's did what it must not, after it had attached: a result, and no fault of ours. */
export class DriverFailure extends Error {
  override readonly name = 'DriverFailure';
}

/** Loads the file. Throws UsageError for what is no driver. */
export async function loadDriver(path: string): Promise<AttachDriver> {
  const file = resolve(path);
  const stats = attempt(path, () => statSync(file));
  if (!stats.isFile()) throw new UsageError(`${formatPath(path)} is no file; --driver takes one`);
  const loaded = (await load(path, file)) as { readonly default?: unknown };
  const attach = loaded.default;
  if (attach === undefined) throw new UsageError(`${formatPath(path)} has no default export; write ${SHAPE}`);
  if (typeof attach !== 'function') {
    throw new UsageError(`${formatPath(path)}: the default export is no function; write ${SHAPE}`);
  }
  return (host) => attachChecked(path, attach as AttachDriver, host);
}

/** What is said of an error that was thrown while the driver's file ran, or while its driver did. */
export function blameDriver(path: string, error: unknown): unknown {
  if (error instanceof KernelBug || error instanceof DeadlockError) {
    return new DriverFailure(`${formatPath(path)}: ${error.message}`);
  }
  return error;
}

async function load(path: string, file: string): Promise<unknown> {
  const extension = extname(file);
  if (PLAIN.includes(extension) || (TYPED.includes(extension) && nodeReadsTypes()))
    return importFile(path, file);
  if (TYPED.includes(extension)) return importBundled(path, file);
  const known = [...PLAIN.slice(0, 2), ...TYPED.slice(0, 1)].join(', ');
  throw new UsageError(`${formatPath(path)}: --driver takes JavaScript or TypeScript: ${known}`);
}

/** From 22.18 on Node strips types by itself. */
function nodeReadsTypes(): boolean {
  const { typescript } = process.features as { readonly typescript?: string | false };
  return typeof typescript === 'string';
}

async function importFile(path: string, file: string): Promise<unknown> {
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    const line = error instanceof SyntaxError ? lineOf(file) : '';
    throw new UsageError(`${formatPath(path)} cannot be loaded: ${describe(error)}${line}`);
  }
}

/** Where a file cannot be parsed: Node says it when it prints such an error, and not in the error. */
function lineOf(file: string): string {
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
  const line = /^.*:(\d+)$/m.exec(stderr)?.[1];
  return line === undefined ? '' : `, line ${line}`;
}

/** Has esbuild take the types out, if there is one: beside the driver, or here. */
async function importBundled(path: string, file: string): Promise<unknown> {
  const esbuild = await findEsbuild(file);
  if (esbuild === null) {
    throw new UsageError(
      `${formatPath(path)} is TypeScript, which Node ${process.versions.node} does not run; use Node 22.18 or later, ` +
        'install esbuild beside it, or compile it to .mjs',
    );
  }
  // In the same folder, so that what the driver imports is found from there.
  const name = basename(file).replace(/\.[cm]?ts$/, '');
  const outfile = join(dirname(file), `.${name}.${process.pid}.mjs`);
  process.setSourceMapsEnabled(true);
  try {
    await esbuild.build({
      entryPoints: [file],
      outfile,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: 'inline',
      logLevel: 'silent',
    });
    return await importFile(path, outfile);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${formatPath(path)} cannot be loaded: ${describe(error)}`);
  } finally {
    rmSync(outfile, { force: true });
  }
}

async function findEsbuild(file: string): Promise<typeof import('esbuild') | null> {
  for (const from of [pathToFileURL(file).href, import.meta.url]) {
    try {
      const found = createRequire(from).resolve('esbuild');
      return (await import(pathToFileURL(found).href)) as typeof import('esbuild');
    } catch {
      // not there
    }
  }
  return null;
}

/** The message, and the line if esbuild knows one. */
function describe(error: unknown): string {
  const { errors } = error as { errors?: readonly { text: string; location: { line: number } | null }[] };
  const [first] = errors ?? [];
  if (first !== undefined)
    return oneLine(`${first.text}${first.location ? `, line ${first.location.line}` : ''}`);
  if (!(error instanceof Error)) return oneLine(String(error));
  return oneLine(`${error.name}: ${error.message}`);
}

/** Attaches the user's driver and looks at what it returned. Throws MachineError, which ends the part of the run. */
function attachChecked(path: string, attach: AttachDriver, host: DriverHost): Driver {
  let driver: Driver;
  try {
    driver = attach(host);
  } catch (error) {
    throw new MachineError(`${formatPath(path)}: attach() threw ${where(error)}`);
  }
  const wrong = problemWith(driver);
  if (wrong !== null) throw new MachineError(`${formatPath(path)}: ${wrong}`);
  return guarded(path, driver);
}

/** What the returned value lacks to be a driver; null: nothing. */
function problemWith(driver: unknown): string | null {
  if (driver instanceof Promise) {
    return 'attach() returned a promise; it must return the driver itself: host.waitUntil() waits';
  }
  if (typeof driver !== 'object' || driver === null) return 'attach() returned no driver';
  const parts = driver as Readonly<Record<string, unknown>>;
  const methods = METHODS.filter((name) => typeof parts[name] !== 'function').map((name) => `${name}()`);
  if (methods.length > 0) return `the driver has no ${methods.join(', ')}`;
  const { limits: given, disks } = driver as { readonly limits?: unknown; readonly disks?: unknown };
  const limits = (given ?? {}) as Readonly<Record<string, unknown>>;
  const numbers = LIMITS.filter((name) => typeof limits[name] !== 'number').map((name) => `limits.${name}`);
  if (numbers.length > 0) return `the driver has no number in ${numbers.join(', ')}`;
  if (!Array.isArray(disks)) return 'the driver has no array of disks';
  const blank = (disks as readonly { sectors?: unknown; sectorBytes?: unknown }[]).findIndex(
    ({ sectors, sectorBytes }) =>
      typeof sectors !== 'number' || (sectorBytes !== 512 && sectorBytes !== 4096),
  );
  return blank < 0 ? null : `disks[${blank}] of the driver lacks sectors, or sectorBytes (512 or 4096)`;
}

/** The driver, with what its methods throw marked as its own. */
function guarded(path: string, driver: Driver): Driver {
  const call = <T>(name: string, body: () => T): T => {
    try {
      return body();
    } catch (error) {
      // A time-out's abort() may run inside of interrupt(): the inner one says more.
      if (error instanceof DriverFailure) throw error;
      throw new DriverFailure(`${formatPath(path)}: ${name}() threw ${where(error)}`);
    }
  };
  return {
    name: driver.name ?? basename(path),
    limits: driver.limits,
    disks: driver.disks,
    submit: (command) => call('submit', () => driver.submit(command)),
    kick: () => call('kick', () => driver.kick()),
    interrupt: () => call('interrupt', () => driver.interrupt()),
    abort: (command) => call('abort', () => driver.abort(command)),
    reset: () => call('reset', () => driver.reset()),
    detach: () => call('detach', () => driver.detach()),
  };
}

/** An error in one line, with the place in the code that threw it. */
function where(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  const [frame] = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const place = /((?:[^\s/(]+):\d+):\d+\)?$/.exec(frame ?? '')?.[1];
  return oneLine(`${error.name}: ${error.message}${place === undefined ? '' : ` (${place})`}`);
}
