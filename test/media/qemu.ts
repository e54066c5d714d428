// The real qemu-img beside our own reader and writer of images.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Random } from '../../src/kernel/random.ts';
import type { SyncMedium } from '../../src/media/index.ts';
import { assert, type Body, type Suite } from '../run/suite.ts';
import { pattern } from './help.ts';

const MIB = 2 ** 20;

export interface Shape {
  readonly version: 2 | 3;
  readonly clusterBytes: number;
  readonly refcountBits: number;
}

const CLUSTERS = [512, 1024, 4096, 65536, 262144, 2 * MIB];
export const SHAPES: Shape[] = [
  ...CLUSTERS.map((clusterBytes) => ({ version: 2 as const, clusterBytes, refcountBits: 16 })),
  ...CLUSTERS.map((clusterBytes) => ({ version: 3 as const, clusterBytes, refcountBits: 16 })),
  ...[1, 2, 4, 8, 32, 64].flatMap((refcountBits) =>
    [512, 65536].map((clusterBytes) => ({ version: 3 as const, clusterBytes, refcountBits })),
  ),
];

export function optionsOf({ version, clusterBytes, refcountBits }: Shape): string {
  return `compat=${version === 2 ? '0.10' : '1.1'},cluster_size=${clusterBytes},refcount_bits=${refcountBits}`;
}

export function nameOf({ version, clusterBytes, refcountBits }: Shape): string {
  return `v${version}-${clusterBytes}-${refcountBits}`;
}

/** Random bytes with stretches of zeroes, which images leave out. */
export function content(bytes: number, seed: number): Uint8Array {
  const all = pattern(bytes, seed);
  for (let at = 0; at < bytes; at += 96 * 1024) all.fill(0, at, at + 40 * 1024);
  return all;
}

function isInstalled(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0;
}

/** A test that calls programs; skipped, with what to install, where one is missing. */
export function needing(test: Suite, programs: readonly string[], packages: string) {
  const missing = programs.filter((program) => !isInstalled(program));
  return (name: string, body: Body): void => {
    if (missing.length === 0) test(name, body);
    else test.skip(name, `${missing.join(' and ')} not found; install ${packages}`);
  };
}

/** Runs qemu-img; its standard output. */
export function qemuImg(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('qemu-img', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`qemu-img ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Runs commands of qemu-io, which is in the same package, on an image. */
export function qemuIo(path: string, ...commands: string[]): void {
  const { status, stdout, stderr } = spawnSync('qemu-io', [...commands.flatMap((one) => ['-c', one]), path], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`qemu-io ${commands.join('; ')}: ${stdout}${stderr}`);
}

/** What `qemu-img check` finds. */
export function check(path: string): { corruptions: number; leaks: number; errors: number } {
  const { stdout, stderr } = spawnSync('qemu-img', ['check', '--output=json', '-f', 'qcow2', path], {
    encoding: 'utf8',
  });
  try {
    const found = JSON.parse(stdout);
    return {
      corruptions: found.corruptions ?? 0,
      leaks: found.leaks ?? 0,
      errors: found['check-errors'] ?? 0,
    };
  } catch {
    throw new Error(`qemu-img check ${path}: ${stdout}${stderr}`);
  }
}

export const CLEAN = { corruptions: 0, leaks: 0, errors: 0 };

/** The disk of an image, as qemu-img reads it. */
export function rawOf(path: string, ...options: string[]): Uint8Array {
  const raw = `${path}.raw`;
  qemuImg('convert', ...options, '-O', 'raw', path, raw);
  return new Uint8Array(readFileSync(raw));
}

/** Fails with the first byte that differs: a comparison of megabytes would print them. */
export function same(got: Uint8Array, wanted: Uint8Array, what: string): void {
  assert.is(got.length, wanted.length, `${what}: length`);
  if (Buffer.compare(got, wanted) === 0) return;
  const at = got.findIndex((byte, i) => byte !== wanted[i]);
  assert.unreachable(`${what}: byte ${at} is ${got[at]}, not ${wanted[at]}`);
}

/** Random reads, writes, discards and flushes on a medium, and on an array that says what is right. */
export class Exerciser {
  readonly medium: SyncMedium;
  readonly model: Uint8Array;
  readonly random: Random;
  readonly #longest: number;

  constructor(medium: SyncMedium, model: Uint8Array, seed: number, longest: number) {
    this.medium = medium;
    this.model = model;
    this.random = new Random(seed);
    this.#longest = longest;
  }

  run(operations: number): void {
    for (let i = 0; i < operations; i++) this.step();
  }

  step(): void {
    const { random, medium, model } = this;
    const sectors = model.length / 512;
    const most = Math.min(sectors, this.#longest / 512);
    const count = 1 + random.below(random.below(4) === 0 ? most : Math.min(most, 16));
    const first = random.below(sectors - count + 1);
    const [offset, length] = [first * 512, count * 512];
    const kind = random.below(10);
    if (kind < 5) {
      const bytes = pattern(length, random.next());
      const cut = random.below(length + 1);
      assert.is(medium.writev(offset, [bytes.subarray(0, cut), bytes.subarray(cut)]), length);
      model.set(bytes, offset);
    } else if (kind < 8) {
      const got = new Uint8Array(length).fill(0xa5);
      const cut = random.below(length + 1);
      assert.is(medium.readv(offset, [got.subarray(0, cut), got.subarray(cut)]), length);
      same(got, model.subarray(offset, offset + length), `${length} bytes at ${offset}`);
    } else if (kind < 9) {
      medium.discard(offset, length);
      model.fill(0, offset, offset + length);
    } else {
      medium.flush();
    }
  }
}
