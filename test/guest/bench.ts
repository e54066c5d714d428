// What steps work on: a controller under test in a guest that runs, and what a step says when it fails.

import type { EmbeddedController } from '../../src/embed/index.ts';
import type { Disk } from '../../src/machine/index.ts';
import type { Guest } from './guest.ts';
import type { GuestDisk } from './guests.ts';

export const SECTOR = 512;
export const DISK_BYTES = 64 << 20;
/** Behind both partitions: for what writes to the disk itself. */
export const RAW_SECTOR = 102_400;

export class StepFailure extends Error {}

/** A controller under test in a guest that runs. */
export interface Bench {
  readonly guest: Guest;
  readonly device: GuestDisk;
  readonly controller: EmbeddedController;
  /** Another machine of the same parts, which goes on from a saved state of v86's. */
  another(state: ArrayBuffer): Promise<Bench>;
}

/** Runs a line in the guest; throws unless it ends with `status`. */
export async function shell(bench: Bench, command: string, status = 0): Promise<string> {
  const result = await bench.guest.run(command);
  if (result.status !== status) {
    throw new StepFailure(`\`${command}\` ended with ${result.status}:\n${result.output.trim()}`);
  }
  return result.output;
}

/** Begins a line of shell in the guest's background; there is one at a time. */
export async function startWork(bench: Bench, commands: string): Promise<void> {
  await shell(bench, `{ ${commands}; echo ended; } > /tmp/work 2>&1 &`);
}

/** Waits for it: what it said. */
export async function endOfWork(bench: Bench): Promise<string> {
  const wait = 'for i in $(seq 6000); do tail -n 1 /tmp/work | grep -qx ended && break; usleep 50000; done';
  const output = await shell(bench, `${wait}; cat /tmp/work`);
  if (!/^ended$/m.test(output)) throw new StepFailure(`the guest's work does not end:\n${output}`);
  return output;
}

export function node({ device }: Bench, partition?: number): string {
  return `/dev/${device.disk}${partition === undefined ? '' : device.infix + partition}`;
}

export function theDisk({ controller }: Bench): Disk {
  const [disk] = controller.disks;
  if (disk === undefined) throw new StepFailure('the controller has no disk');
  return disk;
}

/** The driver finds the controller and the disk, whole. */
export async function probe(bench: Bench): Promise<void> {
  const { device } = bench;
  await shell(bench, 'dmesg -c > /tmp/boot');
  await shell(bench, `load ${device.modules.join(' ')}`);
  await shell(bench, `for i in $(seq 200); do [ -b ${node(bench)} ] && break; usleep 50000; done`);
  const sectors = Number(await shell(bench, `cat /sys/block/${device.disk}/size`));
  if (sectors !== DISK_BYTES / SECTOR) throw new StepFailure(`${node(bench)} has ${sectors} sectors`);
}

/** Since the driver was loaded the kernel has warned of nothing, and our guard has found nothing. */
export async function noWarnings(bench: Bench): Promise<void> {
  const lines = (await shell(bench, 'dmesg -r')).split('\n');
  const usual = bench.device.says ?? [];
  const warnings = lines.filter(
    (line) =>
      Number(/^<(\d+)>/.exec(line)?.[1] ?? 7) % 8 <= WARNING &&
      ![...usual, ...SLOW_HOST].some((pattern) => pattern.test(line)),
  );
  if (warnings.length > 0) throw new StepFailure(`the kernel warns:\n${warnings.join('\n')}`);
  const [finding] = bench.controller.guard.findings();
  if (finding !== undefined) throw new StepFailure(`the guard found ${JSON.stringify(finding)}`);
}

/** KERN_WARNING and what is worse. */
const WARNING = 4;
/** What a kernel says whose host had no time for it: of clocks, not of drivers. */
const SLOW_HOST = [
  /hrtimer: interrupt took/,
  /clocksource: /,
  /perf: interrupt took too long/,
  /rcu: INFO: rcu_\w+ (?:self-)?detected/,
  /sched: RT throttling activated/,
];
