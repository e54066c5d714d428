// `npm run guest`: Debian's stock kernel and its drivers on each of the controllers, in v86.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { EmbeddedController } from '../../src/embed/index.ts';
import { attach } from '../../src/v86/index.ts';
import { type GuestFiles, readGuestFiles, startGuest } from './guest.ts';
import { GUEST_DISKS, type GuestDisk, V86_IDE } from './guests.ts';
import { makeInitramfs } from './initramfs.ts';
import { GuestUnavailable, unpackedPackages } from './packages.ts';
import { readerProgram } from './reader.ts';
import { root } from './root.ts';
import { type Bench, blocksPerSecond, DISK_BYTES, STEPS, StepFailure } from './steps.ts';

const READ4K = { blockBytes: 4096, count: 20_000, span: 8192 };
const READ1M = { blockBytes: 1 << 20, count: 512, span: 32 };

interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly error?: string;
}

interface GuestResult {
  readonly controller: string;
  readonly driver: string;
  readonly ok: boolean;
  readonly steps: readonly StepResult[];
  readonly iops4k: number | null;
  readonly mbps1m: number | null;
}

const { values: options, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, verbose: { type: 'boolean', default: false } },
});

async function main(): Promise<number> {
  const wanted = names.length === 0 ? GUEST_DISKS : names.map(find);
  const files = unpackedPackages('bookworm');
  const initramfs = makeInitramfs(files, {
    drivers: [...new Set(GUEST_DISKS.flatMap(({ modules }) => modules))],
    programs: { read4k: readerProgram(READ4K), read1m: readerProgram(READ1M) },
  });
  const guestFiles = { ...readGuestFiles(files), initramfs };
  const results: GuestResult[] = [];
  for (const device of wanted) results.push(await runGuest(device, guestFiles));
  if (options.json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  return results.every(({ ok }) => ok) ? 0 : 1;
}

function find(name: string): GuestDisk {
  const device = GUEST_DISKS.find(({ controller }) => controller === name);
  if (device !== undefined) return device;
  throw new GuestUnavailable(
    `no controller is called "${name}": ${GUEST_DISKS.map(({ controller }) => controller).join(' ')}`,
  );
}

async function runGuest(device: GuestDisk, files: GuestFiles): Promise<GuestResult> {
  const steps: StepResult[] = [];
  let controller: EmbeddedController | null = null;
  const log = (text: string): void => void (options.verbose && process.stderr.write(text));
  const started = Date.now();
  const guest = await startGuest({
    files,
    log,
    prepare: async (emulator) => {
      controller = await attach(emulator, {
        controller: device.controller,
        media: { bytes: DISK_BYTES },
        wasm: readFileSync(join(root, 'dist/backplane.wasm')),
      });
    },
    v86: device.controller === 'piix-ide' ? {} : { hda: { buffer: new ArrayBuffer(DISK_BYTES) } },
  });
  const step = async (name: string, work: () => Promise<void>): Promise<boolean> => {
    const from = name === 'boot' ? started : Date.now();
    let error: string | undefined;
    try {
      await work();
    } catch (thrown) {
      error =
        thrown instanceof StepFailure
          ? thrown.message
          : String(thrown instanceof Error ? thrown.stack : thrown);
    }
    const ms = Date.now() - from;
    steps.push({ name, ok: error === undefined, ms, ...(error === undefined ? {} : { error }) });
    process.stderr.write(
      `${device.controller}: ${name} ${error === undefined ? 'ok' : 'FAILED'} (${ms} ms)\n${error === undefined ? '' : `${error}\n`}`,
    );
    return error === undefined;
  };
  let iops4k: number | null = null;
  let mbps1m: number | null = null;
  let ok = await step('boot', async () => void (await guest.waitForShell()));
  if (controller !== null) {
    const bench: Bench = { guest, device, controller };
    for (const { name, run } of STEPS) ok = ok && (await step(name, () => run(bench)));
    ok =
      ok &&
      (await step('speed', async () => {
        await blocksPerSecond(bench, device.disk, 'read4k', READ4K.count);
        iops4k = await blocksPerSecond(bench, device.disk, 'read4k', READ4K.count);
        mbps1m = await blocksPerSecond(bench, device.disk, 'read1m', READ1M.count);
      }));
    process.stderr.write(`${device.controller}: iops4k ${iops4k} mbps1m ${mbps1m}\n`);
    if (device.controller !== 'piix-ide' && ok) {
      await guest.run(`load ${V86_IDE.driver}; sleep 1`);
      const disk = device.disk === 'sda' ? 'sdb' : 'sda';
      await blocksPerSecond(bench, disk, 'read4k', READ4K.count);
      const iops = await blocksPerSecond(bench, disk, 'read4k', READ4K.count);
      const mbps = await blocksPerSecond(bench, disk, 'read1m', READ1M.count);
      process.stderr.write(`v86 IDE: iops4k ${iops} mbps1m ${mbps}\n`);
    }
  }
  await guest.close();
  const { controller: name, driver } = device;
  return { controller: name, driver, ok, steps, iops4k, mbps1m };
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof GuestUnavailable)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
