// A driver that stands on other disks: a mirror over two of them. It takes bios and no requests, reads from either side,
// writes to both with dm-io, and goes on when one side fails.

import type { Sleeps } from 'backplane/kernel';
import {
  type Bio,
  bio_data_dir,
  bio_sectors,
  bootLinux,
  type ConstErrorBits,
  DM_IO_BIO,
  type DmIoClient,
  errnoName,
  Gendisk,
  GFP_KERNEL,
  IS_ERR,
  READ,
  REQ_OP_READ,
  REQ_OP_WRITE,
  type RequestQueue,
} from 'backplane/linux';
import { createMachine } from 'backplane/machine';

const machine = await createMachine();
const controller = machine.addController({ kind: 'ahci' });
const media = [0, 1].map((port) => {
  const disk = machine.addDisk({ bytes: 1 << 20 });
  controller.attach(disk, port);
  return disk;
});
const linux = bootLinux(machine);
const { scheduler, memory } = linux.kernel;

// ---- the driver

/** One mirror. A side that failed a write is stale and takes part no more. */
class Mirror {
  readonly sides: readonly Gendisk[];
  readonly good: boolean[];
  readonly client: DmIoClient;
  next = 0;

  constructor(sides: readonly Gendisk[], client: DmIoClient) {
    this.sides = sides;
    this.good = sides.map(() => true);
    this.client = client;
  }

  /** What is asked of dm-io for a bio: its own memory, on these sides, at its own sectors. */
  *submit(bio: Bio, sides: readonly Gendisk[], fn: (failed: ConstErrorBits) => void): Sleeps<void> {
    const { bi_sector } = bio.bi_iter;
    const where = sides.map(({ part0 }) => ({ bdev: part0, sector: bi_sector, count: bio_sectors(bio) }));
    const mem = { type: DM_IO_BIO, ptr: { bio } };
    const request = { bi_op: bio.bi_op, bi_op_flags: bio.bi_opf, mem, notify: { fn }, client: this.client };
    yield* linux.dm_io(request, where.length, where, null);
  }

  *read(bio: Bio): Sleeps<void> {
    const live = this.sides.filter((_, i) => this.good[i]);
    const side = live[this.next++ % live.length];
    if (side === undefined) return linux.bio_io_error(bio);
    yield* this.submit(bio, [side], (failed) => {
      if (!failed.any) return linux.bio_endio(bio);
      // This runs in an interrupt: to ask the other side takes a task.
      const others = live.filter((other) => other !== side);
      scheduler.spawn('mirror', () => this.retry(bio, others));
    });
  }

  *retry(bio: Bio, sides: readonly Gendisk[]): Sleeps<void> {
    const [side] = sides;
    console.log(`  a read failed, ${side?.disk_name ?? 'nobody'} is asked instead`);
    if (side === undefined) return linux.bio_io_error(bio);
    yield* this.submit(bio, [side], (failed) => {
      if (failed.any) bio.bi_error = -5;
      linux.bio_endio(bio);
    });
  }

  *write(bio: Bio): Sleeps<void> {
    const live = this.sides.filter((_, i) => this.good[i]);
    if (live.length === 0) return linux.bio_io_error(bio);
    yield* this.submit(bio, live, (failed) => {
      for (const [i, side] of live.entries()) {
        if (!failed.test(i)) continue;
        this.good[this.sides.indexOf(side)] = false;
        console.log(`  ${side.disk_name} failed a write and is left out from now on`);
      }
      if (failed.regions().length === live.length) linux.bio_io_error(bio);
      else linux.bio_endio(bio);
    });
  }
}

/** make_request_fn: takes a bio, and must end it some day. */
function* mirror_make_request(q: RequestQueue, bio: Bio): Sleeps<void> {
  const mirror = q.queuedata as Mirror;
  yield* bio_data_dir(bio) === READ ? mirror.read(bio) : mirror.write(bio);
}

function mirror_create(sides: readonly Gendisk[]): Gendisk {
  const client = linux.dm_io_client_create();
  if (IS_ERR(client)) throw new Error('no memory');
  const queue = linux.blk_alloc_queue(GFP_KERNEL);
  linux.blk_queue_make_request(queue, mirror_make_request);
  queue.queuedata = new Mirror(sides, client);
  linux.blk_queue_write_cache(queue, true, true); // flushes are passed on
  const disk = new Gendisk('mirror', queue);
  linux.blk_set_stacking_limits(queue.limits);
  for (const { part0 } of sides) linux.disk_stack_limits(disk, part0, 0);
  linux.set_capacity(disk, Math.min(...sides.map((side) => linux.get_capacity(side))));
  return disk;
}

// ---- somebody uses it

const { disks } = linux.scsi_add_host(controller);
const mirror = scheduler.complete('create', function* () {
  return mirror_create(disks);
});

/** Moves one page between the mirror and memory. */
function transfer(bi_op: number, sector: number, text = ''): string {
  return scheduler.complete('user', function* () {
    const page = yield* linux.alloc_page(GFP_KERNEL);
    const bio = yield* linux.bio_alloc(GFP_KERNEL, 1);
    if (page === null || bio === null) throw new Error('no memory');
    memory.writeBytes(page.phys, new TextEncoder().encode(text.padEnd(4096)));
    linux.bio_add_page(bio, page, 4096, 0);
    Object.assign(bio, { bi_bdev: mirror.part0, bi_op });
    bio.bi_iter.bi_sector = sector;
    const error = yield* linux.submit_bio_wait(bio);
    linux.bio_put(bio);
    const held = new TextDecoder().decode(memory.readBytes(page.phys, 4096)).trim();
    linux.__free_page(page);
    if (error !== 0) return errnoName(error);
    return bi_op === REQ_OP_READ ? `"${held}"` : 'written';
  });
}

console.log('write:', transfer(REQ_OP_WRITE, 64, 'on both'));
for (const disk of media.slice(0, 1)) machine.addFault({ disk, kind: 'error' });
console.log('sda is broken:');
for (let i = 0; i < 2; i++) console.log('read:', transfer(REQ_OP_READ, 64));
console.log('write:', transfer(REQ_OP_WRITE, 64, 'on sdb alone'));
console.log('read:', transfer(REQ_OP_READ, 64));
for (const disk of media) machine.addFault({ disk, kind: 'error' });
console.log('both are broken:');
console.log('read:', transfer(REQ_OP_READ, 64));
