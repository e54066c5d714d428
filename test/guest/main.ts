// `npm run guest`: Debian's stock kernel with its own drivers on each of the controllers, in v86.

import { spawn } from 'node:child_process';
import { findProfile } from '../../src/controllers/index.ts';
import { type GuestFiles, MEMORY_BYTES, readGuestFiles } from './guest.ts';
import { GUEST_DISKS, type GuestDisk, V86_IDE } from './guests.ts';
import { makeInitramfs } from './initramfs.ts';
import { runNarrow } from './narrow.ts';
import { type GuestOptions, guestOptions, Usage } from './options.ts';
import { GuestUnavailable, type Unpacked, unpackedPackages } from './packages.ts';
import { type GuestResult, READERS, runGuest, type StepResult } from './run.ts';

const HELP = `Example:
  npm run guest -- nvme ahci
  npm run guest -- --json

Boots Debian's i386 kernel in v86 with each of the controllers (default: all six) and has its own driver
probe, partition, format, copy, verify, meet media errors and reboot. What is downloaded stays in .cache/guest/.

  --json            one array on stdout: [{ controller, driver, ok, steps, iops4k, iops4kNone, mbps1m,
                    v86Ide }]; iops4kNone: with the guest's I/O scheduler set to none
  --nbd             all of them, not virtio-blk alone, with the disk on an NBD server that goes away for a while
  --no-speed        without the comparison with v86's own IDE
  --profile NAME    another profile of the one controller that is named; of one with too few address lines for
                    the guest's memory (ahci-26lines, nvme-26lines) the guard's findings are shown
  --release NAME    bookworm (Linux 6.1, the default) or bullseye (Linux 5.10)
  --jobs N          guests at a time, default 1
  --verbose         what the guests say, on stderr

Exit status: 0 all went well, 1 a step failed, 2 the command line makes no sense, 3 our own fault,
4 kernel and programs cannot be had here.

Controllers: ${GUEST_DISKS.map(({ controller }) => controller).join(' ')}
`;

async function main(): Promise<number> {
  const options = guestOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  const files = unpackedPackages(options.release);
  const results = options.jobs > 1 ? await inProcesses(options) : await inTurn(options, files);
  if (options.json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  else process.stdout.write(table(results));
  return results.every(({ ok }) => ok) ? 0 : 1;
}

function switches({ release, verbose, speed, nbd, profile }: GuestOptions): string[] {
  return [
    ...['--release', release],
    ...(verbose ? ['--verbose'] : []),
    ...(speed ? [] : ['--no-speed']),
    ...(nbd ? ['--nbd'] : []),
    ...(profile === undefined ? [] : ['--profile', profile]),
  ];
}

function filesFor(devices: readonly GuestDisk[], folder: Unpacked): GuestFiles {
  const drivers = [...new Set([...devices.flatMap(({ modules }) => modules), V86_IDE.driver])];
  return { ...readGuestFiles(folder), initramfs: makeInitramfs(folder, { drivers, programs: READERS }) };
}

async function inTurn(options: GuestOptions, folder: Unpacked): Promise<GuestResult[]> {
  const { devices, profile, speed, nbd, verbose } = options;
  const files = filesFor(devices, folder);
  const results: GuestResult[] = [];
  for (const device of devices) {
    const done = (step: StepResult): void => void process.stderr.write(progress(device, step));
    const log = (text: string): void => void (verbose && process.stderr.write(text));
    const run = isNarrow(profile) ? runNarrow : runGuest;
    results.push(await run(device, { files, profile, speed, nbd, log, done }));
  }
  return results;
}

/** Whether a board of that profile does not reach all of the guest's memory. */
function isNarrow(name: string | undefined): boolean {
  const lines = name === undefined ? undefined : findProfile(name)?.profile.addressBits;
  return lines !== undefined && lines < Math.log2(MEMORY_BYTES);
}

/** Each controller in a process of its own, `jobs` at a time. */
async function inProcesses(options: GuestOptions): Promise<GuestResult[]> {
  const { devices, jobs } = options;
  const results: GuestResult[][] = devices.map(() => []);
  const rest = devices.map(({ controller }, i) => ({ controller, i }));
  const work = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
      const { controller, i } = next;
      results[i] = await inProcess([controller, ...switches(options), '--json']);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return results.flat();
}

function inProcess(args: readonly string[]): Promise<GuestResult[]> {
  const child = spawn(process.execPath, [process.argv[1] ?? '', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0 || code === 1) resolve(JSON.parse(output) as GuestResult[]);
      else reject(new Error(`the guest of ${args[0]} ended with ${code}`));
    });
  });
}

function progress({ controller }: GuestDisk, { name, ok, ms, error }: StepResult): string {
  const line = `${controller}: ${name} ${ok ? 'ok' : 'FAILED'} (${ms} ms)\n`;
  return error === undefined ? line : `${line}${error}\n`;
}

function table(results: readonly GuestResult[]): string {
  const rows = results.map(({ controller, driver, ok, steps, iops4k, iops4kNone, mbps1m, v86Ide }) => [
    controller,
    driver,
    ok ? 'ok' : `failed at ${steps.find((step) => !step.ok)?.name}`,
    `${(steps.reduce((sum, { ms }) => sum + ms, 0) / 1000).toFixed(0)} s`,
    rate(iops4k, v86Ide?.iops4k, 'a second'),
    rate(iops4kNone, v86Ide?.iops4kNone, 'a second'),
    rate(mbps1m, v86Ide?.mbps1m, 'MiB/s'),
  ]);
  const all = [
    [
      'controller',
      'driver',
      'result',
      'time',
      "4 KiB reads (v86's IDE)",
      'without a scheduler',
      "1 MiB reads (v86's IDE)",
    ],
    ...rows,
  ];
  const widths = all[0]?.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length))) ?? [];
  return all
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function rate(ours: number | null, v86: number | undefined, unit: string): string {
  if (ours === null) return '-';
  return v86 === undefined ? `${ours} ${unit}` : `${ours} ${unit}, ${(ours / v86).toFixed(2)} of ${v86}`;
}

try {
  process.exitCode = await main();
} catch (error) {
  const status = error instanceof Usage ? 2 : error instanceof GuestUnavailable ? 4 : 3;
  const { message, stack } = error as Error;
  process.stderr.write(`${status === 3 ? stack : message}\n`);
  process.exitCode = status;
}
