// v86's saved states while the guest works: in the middle of a write, put back into a new
// machine, and in the middle of a read, put back into the same one. Whatever comes after a state, the work that was under way ends with right sums.

import {
  type Bench,
  endOfWork,
  node,
  noWarnings,
  RAW_SECTOR,
  SECTOR,
  StepFailure,
  shell,
  startWork,
  theDisk,
} from './bench.ts';

/** Requests that are held while a state is saved: which of the work's, and by which tag they are let go. */
const HELD = [
  { operation: 'write', skip: 20, tag: 1 },
  { operation: 'read', skip: 20, tag: 2 },
] as const;
const ROUNDS = 2;
const PATIENCE_MS = 120_000;
const POLL_MS = 2;

export async function savedStates(bench: Bench): Promise<void> {
  await shell(bench, `mkdir -p /mnt/ext4 && mount -t ext4 ${node(bench, 1)} /mnt/ext4`);
  const [expected] = /^[\da-f]{32}/m.exec(await shell(bench, 'md5sum /tmp/pattern')) ?? [];
  const disk = theDisk(bench);
  for (const { operation, skip, tag } of HELD) {
    bench.controller.addFault({
      disk,
      kind: 'hold',
      operations: [operation],
      skip,
      argument: tag,
    });
  }
  await startWork(bench, work(bench));
  const states: ArrayBuffer[] = [];
  for (const { operation, tag } of HELD) {
    await parked(bench, operation);
    states.push(await bench.guest.emulator.save_state());
    bench.controller.release(disk, tag);
  }
  const [inWrite, inRead] = states as [ArrayBuffer, ArrayBuffer];
  await finish(bench, expected);
  const other = await bench.another(inWrite);
  await finish(other, expected);
  await noWarnings(other);
  await other.guest.close();
  await bench.guest.emulator.restore_state(inRead);
  await finish(bench, expected);
  await shell(bench, `rm /mnt/ext4/round* && umount /mnt/ext4 && e2fsck -fn ${node(bench, 1)}`);
}

/** A line for each round: the sum of what was written to the disk itself, and that of a file. */
function work(bench: Bench): string {
  const disk = node(bench);
  const [bytes, count, at] = [32 * SECTOR, 128, RAW_SECTOR / 32];
  return [
    `for i in $(seq ${ROUNDS})`,
    `do dd if=/tmp/pattern of=${disk} bs=${bytes} count=${count} seek=${at} oflag=direct 2> /dev/null`,
    'cp /tmp/pattern /mnt/ext4/round$i && sync && echo 3 > /proc/sys/vm/drop_caches',
    `dd if=${disk} bs=${bytes} count=${count} skip=${at} iflag=direct 2> /dev/null | md5sum`,
    'md5sum /mnt/ext4/round$i',
    'done',
  ].join('; ');
}

/** Waits until the work is in the middle of a request. */
async function parked({ controller }: Bench, operation: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (controller.parkedRequests === 0) {
    if (Date.now() > deadline) throw new StepFailure(`the guest's work did not come to a ${operation}`);
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
}

/** Lets the work go on, and looks at what came of it. */
async function finish(bench: Bench, expected: string | undefined): Promise<void> {
  for (const { tag } of HELD) bench.controller.release(theDisk(bench), tag);
  const output = await endOfWork(bench);
  const sums = output.match(/^[\da-f]{32}/gm) ?? [];
  if (sums.length !== 2 * ROUNDS || sums.some((sum) => sum !== expected))
    throw new StepFailure(`the work should have written ${expected}, and ended with:\n${output}`);
}
