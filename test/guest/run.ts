// One controller through all steps, in a machine of its own, and the two rates that are compared with v86's own IDE.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EmbeddedController } from '../../src/embed/index.ts';
import type { Medium } from '../../src/media/index.ts';
import { attach } from '../../src/v86/index.ts';
import { type Bench, DISK_BYTES, StepFailure } from './bench.ts';
import { bootableImage } from './boot-disk.ts';
import { COMMAND_LINE, type Guest, type GuestFiles, startGuest } from './guest.ts';
import { type GuestDisk, V86_IDE } from './guests.ts';
import { readerProgram } from './reader.ts';
import { root } from './root.ts';
import { blocksPerSecond, STEPS } from './steps.ts';
import { serverVanishes } from './vanish.ts';

const READ4K = { blockBytes: 4096, count: 8000, span: 8192 };
const READ1M = { blockBytes: 1 << 20, count: 256, span: 32 };
/** Rounds of a measurement: the first warms up v86's compiler, of the others the best counts. */
const ROUNDS = 4;
/** The media are the same for all: one is enough where nobody asks for more. */
const NBD_ALWAYS = 'virtio-blk';
/** A word on the command line of a kernel that came from the disk. */
const FROM_DISK = 'backplane.from=disk';

export const READERS = { read4k: readerProgram(READ4K), read1m: readerProgram(READ1M) };

export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly error?: string;
}

/** 4 KiB blocks at random a second, and MiB a second in blocks of 1 MiB, both read with O_DIRECT. */
export interface Rates {
  readonly iops4k: number;
  /**
   * The same with the guest's I/O scheduler set to `none`. Linux gives a disk of one queue mq-deadline, which hands
   * every request to a kernel thread: half of what a read costs on any disk, and nothing of it is the disk's.
   */
  readonly iops4kNone: number;
  readonly mbps1m: number;
}

export interface GuestResult {
  readonly controller: string;
  readonly driver: string;
  readonly ok: boolean;
  readonly steps: readonly StepResult[];
  readonly iops4k: number | null;
  readonly iops4kNone: number | null;
  readonly mbps1m: number | null;
  /** v86's own IDE in the same boot; for piix-ide, which takes its place, in another. */
  readonly v86Ide: Rates | null;
  /** Of a board that is narrower than it claims: what the guard found. */
  readonly findings?: readonly string[];
}

export interface RunOptions {
  readonly files: GuestFiles;
  readonly profile?: string | undefined;
  readonly speed: boolean;
  /** Also with the disk on an NBD server, which goes away for a while; one controller always has that. */
  readonly nbd: boolean;
  /** What the guest says, and what step is done. */
  log(text: string): void;
  done(step: StepResult): void;
}

/** Runs steps, one after the other, and keeps how they went. */
export function runSteps(options: Pick<RunOptions, 'done'>) {
  const results: StepResult[] = [];
  return {
    results,
    get ok(): boolean {
      return results.every(({ ok }) => ok);
    },
    /** What the step comes to; null when it failed. */
    async run<T>(name: string, work: () => Promise<T>): Promise<T | null> {
      const from = Date.now();
      let value: T | null = null;
      let error: string | undefined;
      try {
        value = await work();
      } catch (thrown) {
        error =
          thrown instanceof StepFailure
            ? thrown.message
            : String(thrown instanceof Error ? thrown.stack : thrown);
      }
      const ms = Date.now() - from;
      const result = error === undefined ? { name, ok: true, ms } : { name, ok: false, ms, error };
      results.push(result);
      options.done(result);
      return value;
    },
  };
}

export async function runGuest(device: GuestDisk, options: RunOptions): Promise<GuestResult> {
  const replaces = device.controller === 'piix-ide';
  const steps = runSteps(options);
  let rates: { ours: Rates; v86Ide: Rates | null } | null = null;
  const bench = await steps.run('boot', () => boot(device, options, { withIde: !replaces }));
  if (bench !== null) {
    for (const { name, run } of STEPS) if (steps.ok) await steps.run(name, () => run(bench));
    if (options.speed && steps.ok) rates = await steps.run('speed', () => compare(bench, !replaces));
    await bench.guest.close();
  }
  if (device.bios && steps.ok) await steps.run('the BIOS boots from it', () => bootFromDisk(device, options));
  if ((options.nbd || device.controller === NBD_ALWAYS) && steps.ok) {
    const bootFrom = (medium: Medium) => boot(device, options, { medium });
    await steps.run('a server vanishes', () => serverVanishes(bootFrom));
  }
  let v86Ide = rates?.v86Ide ?? null;
  if (rates !== null && replaces) v86Ide = await steps.run("v86's IDE", () => aloneRates(options));
  return {
    controller: device.controller,
    driver: device.driver,
    ok: steps.ok,
    steps: steps.results,
    iops4k: rates?.ours.iops4k ?? null,
    iops4kNone: rates?.ours.iops4kNone ?? null,
    mbps1m: rates?.ours.mbps1m ?? null,
    v86Ide,
  };
}

/** What else a machine is made of. */
interface Parts {
  /** v86's own IDE, with a disk. */
  readonly withIde?: boolean;
  /** Behind the controller; default: memory. */
  readonly medium?: Medium;
}

/** A guest at its shell, with the controller in it. */
export async function boot(device: GuestDisk, options: RunOptions, parts: Parts = {}): Promise<Bench> {
  const bench = await startBench(device, options, parts);
  await bench.guest.waitForShell();
  return bench;
}

/** A machine that runs: from power-on, or from a state that was saved in another one. */
async function startBench(
  device: GuestDisk,
  options: RunOptions,
  parts: Parts,
  state?: ArrayBuffer,
): Promise<Bench> {
  let controller: EmbeddedController | null = null;
  const guest = await startGuest({
    files: options.files,
    log: (text) => options.log(text),
    prepare: async (emulator) => {
      controller = await attach(emulator, {
        controller: device.controller,
        media: parts.medium ?? { bytes: DISK_BYTES },
        wasm: hardware(),
        ...(options.profile === undefined ? {} : { profile: options.profile }),
      });
      if (state !== undefined) await emulator.restore_state(state);
    },
    v86: parts.withIde === true ? { hda: { buffer: new ArrayBuffer(DISK_BYTES) } } : {},
  });
  if (controller === null) throw new StepFailure('the machine started without the controller');
  return { guest, device, controller, another: (saved) => startBench(device, options, parts, saved) };
}

/** SeaBIOS loads kernel and initramfs through the controller. */
async function bootFromDisk(device: GuestDisk, options: RunOptions): Promise<void> {
  const commandLine = `${COMMAND_LINE} ${FROM_DISK}`;
  const image = bootableImage(DISK_BYTES, { ...options.files, commandLine });
  const guest = await startGuest({
    files: options.files,
    fromDisk: true,
    log: (text) => options.log(text),
    prepare: async (emulator) => {
      const media = { bytes: DISK_BYTES, content: image };
      await attach(emulator, { controller: device.controller, media, wasm: hardware() });
    },
  });
  await guest.waitForShell();
  const { output } = await guest.run('cat /proc/cmdline');
  if (!output.includes(FROM_DISK)) throw new StepFailure(`it has another command line: ${output}`);
  await guest.close();
}

/** Both disks in turn, so that what else the host does falls on both. */
async function compare(
  { guest, device }: Bench,
  withIde: boolean,
): Promise<{ ours: Rates; v86Ide: Rates | null }> {
  if (!withIde) return { ours: await bestOf(guest, device.disk), v86Ide: null };
  const other = device.disk === V86_IDE.disk ? 'sdb' : V86_IDE.disk;
  await guest.run(
    `load ${V86_IDE.driver}; for i in $(seq 100); do [ -b /dev/${other} ] && break; usleep 50000; done`,
  );
  const all: { ours: Rates; v86Ide: Rates }[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    all.push({ ours: await ratesOf(guest, device.disk), v86Ide: await ratesOf(guest, other) });
  }
  return { ours: best(all.map(({ ours }) => ours)), v86Ide: best(all.map(({ v86Ide }) => v86Ide)) };
}

async function aloneRates(options: RunOptions): Promise<Rates> {
  const guest = await startGuest({
    files: options.files,
    log: (text) => options.log(text),
    v86: { hda: { buffer: new ArrayBuffer(DISK_BYTES) } },
  });
  await guest.waitForShell();
  await guest.run(
    `load ${V86_IDE.driver}; for i in $(seq 100); do [ -b /dev/${V86_IDE.disk} ] && break; usleep 50000; done`,
  );
  const rates = await bestOf(guest, V86_IDE.disk);
  await guest.close();
  return rates;
}

async function bestOf(guest: Guest, disk: string): Promise<Rates> {
  const all: Rates[] = [];
  for (let i = 0; i < ROUNDS; i++) all.push(await ratesOf(guest, disk));
  return best(all);
}

async function ratesOf(guest: Guest, disk: string): Promise<Rates> {
  const iops4k = await blocksPerSecond({ guest }, disk, 'read4k', READ4K.count);
  const scheduler = `/sys/block/${disk}/queue/scheduler`;
  const { output } = await guest.run(`cat ${scheduler}; echo none > ${scheduler}`);
  const iops4kNone = await blocksPerSecond({ guest }, disk, 'read4k', READ4K.count);
  await guest.run(`echo ${/\[(.*)\]/.exec(output)?.[1] ?? 'none'} > ${scheduler}`);
  return { iops4k, iops4kNone, mbps1m: await blocksPerSecond({ guest }, disk, 'read1m', READ1M.count) };
}

function best(all: readonly Rates[]): Rates {
  return {
    iops4k: Math.round(Math.max(...all.map(({ iops4k }) => iops4k))),
    iops4kNone: Math.round(Math.max(...all.map(({ iops4kNone }) => iops4kNone))),
    mbps1m: Math.round(Math.max(...all.map(({ mbps1m }) => mbps1m))),
  };
}

function hardware(): Uint8Array {
  return readFileSync(join(root, 'dist/backplane.wasm'));
}
