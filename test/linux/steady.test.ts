// Nothing that a request takes survives it: after thousands of them, kernel, module and engine hold what they held.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AT_ARENA_TOP, AT_EVENT_COUNT, AT_GUARD_LIVE, AT_TRACE_LOST } from '../../assembly/bus/layout.ts';
import { buildTransfer } from '../../src/drivers/scsi.ts';
import { type AddressSpace, PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import {
  bootLinux,
  type Gendisk,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  IS_ERR,
  iov_iter_init,
  type LinuxApi,
  READ,
  WRITE,
} from '../../src/linux/index.ts';
import { createMachine, type Machine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { asUser, BASE, map, pattern, peek, poke } from './user.ts';

const test = suite('linux steady state');

const MIB = 2 ** 20;
const SECTOR = 512;
/** A request reads or writes so many pages of the process, which are anywhere in RAM. */
const PAGES = 3;
const BYTES = PAGES * PAGE_SIZE;
/** Below 4 GiB: the block layer bounces, from the pool for ISA devices. */
const ISA_LIMIT = 2 ** 32 - 2 * PAGE_SIZE;
/** Bytes of the engine's heap that a request may leave behind: less than any object. Late compiled code comes on top. */
const HEAP_SLACK = 8;
const CODE_SLACK = 256 * 1024;

interface Rig {
  readonly machine: Machine;
  readonly linux: LinuxApi;
  readonly gendisk: Gendisk;
}

async function boot(profile?: string): Promise<Rig> {
  const machine = await createMachine({ diskBytes: 2 * MIB });
  const controller = machine.addController({ kind: 'ahci', ...(profile === undefined ? {} : { profile }) });
  controller.attach(machine.addDisk({ bytes: MIB }), 0);
  const linux = bootLinux(machine, { placement: 'scatter', swiotlb: { bytes: MIB } });
  const [gendisk] = linux.scsi_add_host(controller).disks as [Gendisk];
  return { machine, linux, gendisk };
}

/** One passthrough request on the process's memory at BASE. */
function* transfer({ linux, gendisk }: Rig, rw: number, iov: Iovec[], iter: IovIter): Sleeps<void> {
  const { queue } = gendisk;
  const rq = yield* linux.blk_get_request(queue, rw, GFP_KERNEL);
  if (IS_ERR(rq)) throw new Error(`no request: ${rq}`);
  linux.blk_rq_set_block_pc(rq);
  rq.cmd_len = buildTransfer(rq.cmd, rw === WRITE, 0, BYTES / SECTOR, false);
  iov_iter_init(iter, rw, iov, 1, BYTES);
  assert.is(yield* linux.blk_rq_map_user_iov(queue, rq, null, iter, GFP_KERNEL), 0);
  const { bio } = rq;
  assert.is(yield* linux.blk_execute_rq(queue, gendisk, rq, false), 0);
  rq.bio = null;
  assert.is(yield* linux.blk_rq_unmap_user(bio), 0);
  linux.blk_put_request(rq);
}

/** Whatever counts something that a request takes. */
function counters({ machine, linux, gendisk }: Rig, mm: AddressSpace) {
  const words = new Uint32Array(machine.buffer);
  const { queue } = gendisk;
  let requests = 0;
  for (let rq = queue.free_requests; rq !== null; rq = rq.next) requests++;
  return {
    slabs: linux.slab_in_use(),
    pages: [...linux.kernel.allocator.usage()],
    bouncing: linux.nr_bounce(),
    swiotlb: linux.swiotlb_usage().used,
    pins: Array.from({ length: PAGES }, (_, i) => mm.pageTable.page(BASE + i * PAGE_SIZE)?.count),
    requests,
    requestsOut: [...queue.rl.count],
    inFlight: queue.in_flight,
    tasks: linux.kernel.scheduler.tasks.size,
    arenaTop: words[AT_ARENA_TOP >>> 2],
    events: words[AT_EVENT_COUNT >>> 2],
    guardMappings: words[AT_GUARD_LIVE >>> 2],
    lostEvents: words[AT_TRACE_LOST >>> 2],
    warnings: linux.kernel.warnings.all.length,
    findings: machine.guard.findings().length,
  };
}

/** Bytes that are alive in the engine's heap. */
function heapInUse(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

/** Writes a pattern, then reads it `times` times: what is counted, and the heap, are the same before and after. */
function checkSteady(rig: Rig, times: number): void {
  const { linux } = rig;
  const bytes = pattern(BYTES);
  const iov = [{ iov_base: BASE, iov_len: BYTES }];
  const iter = new IovIter();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, PAGES);
    yield* poke(linux, mm, BASE, bytes);
    yield* transfer(rig, WRITE, iov, iter);
    for (let i = 0; i < times; i++) yield* transfer(rig, READ, iov, iter);
    const before = counters(rig, mm);
    const heap = heapInUse();
    yield* poke(linux, mm, BASE, new Uint8Array(BYTES));
    for (let i = 0; i < times; i++) yield* transfer(rig, READ, iov, iter);
    const grown = heapInUse() - heap;
    assert.equal(counters(rig, mm), before);
    assert.ok(grown < HEAP_SLACK * times + CODE_SLACK, `the heap grew by ${grown} bytes`);
    assert.equal(yield* peek(linux, mm, BASE, BYTES), bytes);
  });
}

test('10000 direct reads leave nothing behind', async () => {
  checkSteady(await boot(), 10_000);
});

test('10000 reads through the software I/O TLB leave nothing behind', async () => {
  checkSteady(await boot('ahci-32bit'), 10_000);
});

test('10000 reads bounced from the ISA pool leave nothing behind', async () => {
  const rig = await boot();
  rig.linux.kernel.scheduler.complete('limit', function* () {
    rig.linux.blk_queue_bounce_limit(rig.gendisk.queue, ISA_LIMIT);
  });
  checkSteady(rig, 10_000);
});
