// A board that claims more address lines than it drives, and what its unmodified driver then does to the memory of the
// guest: what is meant for a page above the lines goes to another one, and nobody but the guard notices.

import type { Finding } from '../../src/guard/index.ts';
import { StepFailure } from './bench.ts';
import type { Guest } from './guest.ts';
import type { GuestDisk } from './guests.ts';
import { boot, type GuestResult, type RunOptions, runSteps } from './run.ts';

/** How long the driver may try; it may as well take the guest down. */
const PATIENCE_MS = 60_000;
const LINES = 8;

/** Passes when the guard says `dev-truncated`. */
export async function runNarrow(device: GuestDisk, options: RunOptions): Promise<GuestResult> {
  const steps = runSteps(options);
  let findings: readonly Finding[] = [];
  const bench = await steps.run('boot', () => boot(device, options));
  if (bench !== null) {
    await steps.run('what the driver says', () => tryDriver(bench.guest, device, options));
    await steps.run("the guard's finding", async () => {
      findings = bench.controller.guard.findings().filter(({ rule }) => rule === 'dev-truncated');
      if (findings.length === 0) throw new StepFailure('the guard has found nothing');
      for (const finding of findings.slice(0, LINES)) options.log(`${sentence(finding)}\n`);
    });
    await bench.guest.close();
  }
  const { controller, driver } = device;
  const none = { iops4k: null, iops4kNone: null, mbps1m: null, v86Ide: null };
  const ok = steps.results.every((step) => step.ok);
  return { controller, driver, ok, steps: steps.results, ...none, findings: findings.map(sentence) };
}

/** Nothing that comes of it is wrong here: an error, a time-out, a panic. */
async function tryDriver(guest: Guest, device: GuestDisk, options: RunOptions): Promise<void> {
  const read = `dd if=/dev/${device.disk} of=/dev/null bs=64k count=16`;
  try {
    const { output } = await guest.run(
      `dmesg -n 8; load ${device.modules.join(' ')}; sleep 3; ${read}`,
      PATIENCE_MS,
    );
    options.log(output);
  } catch (error) {
    options.log(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}

function sentence({ message, count, driven, direction }: Finding): string {
  const where =
    direction === 'write' && driven !== null ? `; what was at 0x${driven.toString(16)} is gone` : '';
  return `${message}${count > 1 ? `, ${count} times` : ''}${where}`;
}
