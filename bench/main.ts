// npm run bench [-- --json] [-- WORD]: what the way through the emulator costs, as ratios to raw memory.copy of
// the same bytes in the same run. Higher is better; 1 is as fast as memory.copy. WORD picks rows by name.

import { spawnSync } from 'node:child_process';
import { driverRow, SPAN } from './driver.ts';
import { linuxRow, submitRow } from './linux.ts';
import { measure, type Pair, type Row } from './measure.ts';
import { mpageRow } from './mpage.ts';
import { type RawCopy, rawCopy } from './raw.ts';
import { restoreRow } from './restore.ts';
import { bindRow, physioRow } from './solaris.ts';

const KIB = 1024;
const MIB = 2 ** 20;
/** Reads of one round: the whole span once. */
const SMALL = SPAN / (4 * KIB);
const LARGE = SPAN / MIB;

/** Every controller alone: name of the row, and of the controller. */
const CONTROLLERS = {
  'AHA-1542': 'aha1542',
  'PIIX IDE': 'piix-ide',
  AHCI: 'ahci',
  NVMe: 'nvme',
  'LSI 53C895A': 'lsi53c895a',
  'virtio-blk': 'virtio-blk',
} as const;
const SIZES = { '4 KiB': 4 * KIB, '128 KiB': 128 * KIB, '1 MiB': MIB } as const;
/** Bytes of one round. */
const ROUND = { [4 * KIB]: SPAN, [128 * KIB]: 4 * SPAN, [MIB]: 8 * SPAN };

/** Null: the row cannot be measured here, and has said why. */
type Make = (raw: RawCopy, name: string) => Promise<Pair | null>;

function controllerRows(): Record<string, Make> {
  const rows: Record<string, Make> = {};
  for (const [title, controller] of Object.entries(CONTROLLERS)) {
    for (const [size, bytes] of Object.entries(SIZES)) {
      const times = (ROUND[bytes] ?? SPAN) / bytes;
      rows[`${title} alone, ${size}`] = (raw, name) => driverRow(name, raw, { controller, bytes, times });
    }
  }
  return rows;
}

const ROWS: Readonly<Record<string, Make>> = {
  ...controllerRows(),
  'restore after one 4 KiB command, 64 MiB of RAM': (raw, name) => restoreRow(name, raw, 2000),
  'Linux, 4 KiB direct, depth 1': (raw, name) =>
    linuxRow(name, raw, { bytes: 4 * KIB, depth: 1, times: SMALL }),
  'Linux, 4 KiB direct, depth 32': (raw, name) =>
    linuxRow(name, raw, { bytes: 4 * KIB, depth: 32, times: SMALL }),
  'Linux, 4 KiB direct, depth 32, guard on': (raw, name) =>
    linuxRow(name, raw, { bytes: 4 * KIB, depth: 32, times: SMALL, guard: true }),
  'Linux, 4 KiB bounced by swiotlb, depth 32': (raw, name) =>
    linuxRow(name, raw, { bytes: 4 * KIB, depth: 32, times: SMALL, bounce: 'swiotlb' }),
  'Linux, 4 KiB bounced from the ISA pool, depth 32': (raw, name) =>
    linuxRow(name, raw, { bytes: 4 * KIB, depth: 32, times: SMALL, bounce: 'isa' }),
  'Linux, 64 KiB of 16 scattered pages direct, depth 1': (raw, name) =>
    linuxRow(name, raw, { bytes: 64 * KIB, depth: 1, times: SPAN / (64 * KIB), scattered: true }),
  // Long rounds: until the engine has compiled everything, several hundred such reads pass.
  'Linux, 1 MiB direct, depth 1': (raw, name) =>
    linuxRow(name, raw, { bytes: MIB, depth: 1, times: 16 * LARGE }),
  'Linux, 1 MiB bounced by swiotlb, depth 1': (raw, name) =>
    linuxRow(name, raw, { bytes: MIB, depth: 1, times: 16 * LARGE, bounce: 'swiotlb' }),
  'Linux, submit_bio of 4 KiB at depth 32': (raw, name) => submitRow(name, raw),
  'mpage over a 64 MiB ext2 file': (raw, name) => mpageRow(name, raw),
  // Two transfers, of 56 and 8 KiB.
  'Solaris, physio of 64 KiB direct': (raw, name) =>
    physioRow(name, raw, { bytes: 64 * KIB, times: (4 * SPAN) / (64 * KIB) }),
  'Solaris, physio of 64 KiB through the copy buffer': (raw, name) =>
    physioRow(name, raw, { bytes: 64 * KIB, times: (4 * SPAN) / (64 * KIB), bounce: true }),
  'Solaris, physio of 1 MiB direct, maxphys 1 MiB': (raw, name) =>
    physioRow(name, raw, { bytes: MIB, times: 16 * LARGE, maxphys: MIB }),
  'Solaris, physio of 1 MiB through the copy buffer, maxphys 1 MiB': (raw, name) =>
    physioRow(name, raw, { bytes: MIB, times: 16 * LARGE, maxphys: MIB, bounce: true }),
  'Solaris, DMA bind and unbind of 1 page': (raw, name) => bindRow(name, raw, 1),
  'Solaris, DMA bind and unbind of 16 pages': (raw, name) => bindRow(name, raw, 16),
  'Solaris, DMA bind and unbind of 256 pages': (raw, name) => bindRow(name, raw, 256),
};

const ROW = '--row';

/** Measures a row in a process of its own: what the engine learns from one machine slows the next one down. */
function measureApart(name: string): Row | null {
  process.stderr.write(`measuring: ${name}\n`);
  const [, script = ''] = process.argv;
  const { status, stdout } = spawnSync(process.execPath, [...process.execArgv, script, ROW, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the row "${name}" failed`);
  return JSON.parse(stdout) as Row | null; // written below, by the other process
}

async function measureHere(name: string): Promise<void> {
  const make = ROWS[name];
  if (make === undefined) throw new Error(`there is no row "${name}"`);
  const pair = await make(await rawCopy(SPAN), name);
  process.stdout.write(JSON.stringify(pair === null ? null : measure(pair)));
}

function report(rows: readonly Row[]): void {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  process.stdout.write(
    '| row | ratio to raw copy | lowest–highest | ns an operation | ns raw |\n|---|---|---|---|---|\n',
  );
  for (const { name, ratio, lowest, highest, ns, rawNs } of rows) {
    const range = `${lowest.toFixed(2)}–${highest.toFixed(2)}`;
    process.stdout.write(
      `| ${name} | ${ratio.toFixed(2)} | ${range} | ${ns.toFixed(0)} | ${rawNs.toFixed(0)} |\n`,
    );
  }
}

const [, , first, second = ''] = process.argv;
if (first === ROW) await measureHere(second);
else {
  const words = process.argv.slice(2).filter((word) => word !== '--json');
  const names = Object.keys(ROWS).filter((name) => words.every((word) => name.includes(word)));
  report(names.map(measureApart).filter((row) => row !== null));
}
