import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  EBUSY,
  ENOENT,
  Gendisk,
  GFP_ATOMIC,
  GFP_KERNEL,
  IRQ_HANDLED,
  IRQ_NONE,
  IRQF_SHARED,
  QueueLimits,
  READ,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  rq_data_dir,
  rq_for_each_segment,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, bioOf, boot, inProcess, inTask, must } from './help.ts';

const test = suite('linux genhd and what drivers need beside');

async function bootDisk() {
  const linux = await boot();
  const q = inProcess(linux, () => linux.blk_init_queue(() => undefined));
  return { linux, q, disk: new Gendisk('disk', q) };
}

test('set_capacity() is what bios are checked against', async () => {
  const { linux, q, disk } = await bootDisk();
  linux.set_capacity(disk, 7);
  assert.equal([linux.get_capacity(disk), disk.part0.nr_sects], [7, 7]);
  assert.is(linux.bdev_get_queue(disk.part0), q);
  const bio = bioOf(linux, 1);
  bio.bi_bdev = disk.part0;
  assert.is(
    inTask(linux, () => linux.submit_bio_wait(bio)),
    -5,
  );
  assertBug('capacity', () => linux.set_capacity(disk, -1));
});

test('the account of a device: requests, sectors, and the time that each and all of them took', async () => {
  const { linux, disk } = await bootDisk();
  const { part0 } = disk;
  const { scheduler } = linux.kernel;
  inTask(linux, function* () {
    const first = linux.jiffies();
    linux.generic_start_io_acct(WRITE, 8, part0);
    yield* scheduler.delay(10e6);
    const second = linux.jiffies();
    linux.generic_start_io_acct(READ, 16, part0);
    yield* scheduler.delay(5e6);
    linux.generic_end_io_acct(WRITE, part0, first);
    yield* scheduler.delay(1e6);
    linux.generic_end_io_acct(READ, part0, second);
    yield* scheduler.delay(50e6); // nothing to do: it counts for nobody
    linux.generic_start_io_acct(READ, 1, part0);
    linux.generic_end_io_acct(READ, part0, linux.jiffies());
  });
  const { ios, sectors, ticks, io_ticks, time_in_queue, in_flight } = part0.dkstats;
  assert.equal(
    [ios, sectors, ticks, in_flight],
    [
      [2, 1],
      [17, 8],
      [6, 15],
      [0, 0],
    ],
  );
  assert.equal([io_ticks, time_in_queue], [16, 10 + 2 * 5 + 1]);
  assertBug('acct', () => linux.generic_end_io_acct(READ, part0, 0));
  assertBug('acct', () => linux.generic_start_io_acct(2, 8, part0));
});

test('disk_stack_limits() takes the limits of the device below, and notes what does not line up', async () => {
  const { linux, disk } = await bootDisk();
  const q = inProcess(linux, () => linux.blk_init_queue(() => undefined));
  const lower = new Gendisk('lower', q);
  linux.blk_queue_max_segments(q, 5);
  linux.blk_queue_physical_block_size(q, 4096);
  linux.blk_set_stacking_limits(disk.queue.limits);
  linux.disk_stack_limits(disk, lower.part0, 0);
  assert.equal([disk.queue.limits.max_segments, disk.queue.limits.physical_block_size], [5, 4096]);
  assert.equal(linux.kernel.warnings.all, []);
  linux.disk_stack_limits(disk, lower.part0, 512);
  assert.is(linux.kernel.warnings.all.length, 1);
  const limits = new QueueLimits();
  linux.blk_set_stacking_limits(limits);
  assert.is(linux.bdev_stack_limits(limits, lower.part0, 8), 0);
  assert.is(limits.alignment_offset, 0);
});

test('request_irq(): handlers share a line only if all agree, and hear of it until free_irq()', async () => {
  const linux = await boot();
  const calls: string[] = [];
  const handler = (name: string, result: number) => (irq: number, dev: object) => {
    calls.push(`${name} ${irq} ${JSON.stringify(dev)}`);
    return result;
  };
  const [a, b] = [{ a: 1 }, { b: 2 }];
  assert.is(linux.request_irq(9, handler('a', IRQ_NONE), IRQF_SHARED, 'a', a), 0);
  assert.is(linux.request_irq(9, handler('x', IRQ_NONE), 0, 'x', b), -EBUSY);
  assert.is(linux.request_irq(9, handler('b', IRQ_HANDLED), IRQF_SHARED, 'b', b), 0);
  assert.is(linux.request_irq(10, handler('own', IRQ_HANDLED), 0, 'own', a), 0);
  assert.is(linux.request_irq(10, handler('x', IRQ_NONE), IRQF_SHARED, 'x', b), -EBUSY);
  assertBug('irq', () => linux.free_irq(9, {}));
  linux.free_irq(9, b);
  linux.free_irq(10, a);
  assert.is(linux.request_irq(10, handler('again', IRQ_HANDLED), 0, 'again', b), 0);
  assert.equal(calls, []);
});

test('pools of kmalloc memory and of pages have a reserve like any other', async () => {
  const linux = await boot();
  const { memory, allocator, faults } = linux.kernel;
  const [bytes, pages] = inProcess(linux, () => [
    must(linux.mempool_create_kmalloc_pool(2, 200)),
    must(linux.mempool_create_page_pool(1, 1)),
  ]) as [
    NonNullable<ReturnType<typeof linux.mempool_create_kmalloc_pool>>,
    NonNullable<ReturnType<typeof linux.mempool_create_page_pool>>,
  ];
  faults.slab.failAll();
  faults.page_alloc.failAll();
  inTask(linux, function* () {
    const first = must(yield* linux.mempool_alloc(bytes, GFP_ATOMIC));
    const second = must(yield* linux.mempool_alloc(bytes, GFP_ATOMIC));
    assert.is(yield* linux.mempool_alloc(bytes, GFP_ATOMIC), null);
    memory.fill(first, 1, 200);
    assert.ok(Math.abs(first - second) >= 200);
    const page = must(yield* linux.mempool_alloc(pages, GFP_ATOMIC));
    assert.is(linux.compound_order(page), 1);
    assert.is(yield* linux.mempool_alloc(pages, GFP_ATOMIC), null);
    for (const addr of [first, second]) linux.mempool_free(addr, bytes);
    linux.mempool_free(page, pages);
  });
  linux.mempool_destroy(bytes);
  linux.mempool_destroy(pages);
  assert.equal([allocator.usage().get('mempool') ?? 0, allocator.usage().get('kmalloc') ?? 0], [0, 0]);
  assert.is(linux.kmalloc_now(16, GFP_ATOMIC), null);
});

test('a bio is on the account of the task that it was associated with, and so are its clones', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  assert.is(linux.bio_associate_current(bio), -ENOENT);
  inTask(linux, function* () {
    assert.is(linux.bio_associate_current(bio), 0);
    assert.is(linux.bio_associate_current(bio), -EBUSY);
    assert.is(bio.bi_ioc, linux.kernel.current);
    const clone = must(yield* linux.bio_clone(bio, GFP_KERNEL));
    const fast = must(yield* linux.bio_clone_fast(bio, GFP_KERNEL, linux.fs_bio_set));
    assert.equal([clone.bi_ioc === bio.bi_ioc, fast.bi_ioc === bio.bi_ioc], [true, true]);
    linux.bio_disassociate_task(clone);
    assert.is(clone.bi_ioc, null);
    linux.bio_clone_blkcg_association(clone, bio);
    assert.is(clone.bi_ioc, bio.bi_ioc);
    linux.bio_put(clone);
    linux.bio_put(fast);
  });
  linux.bio_reset(bio);
  assert.is(bio.bi_ioc, null);
});

test('a scatter list of kernel memory: bytes go in and come out, page by page', async () => {
  const linux = await boot();
  const { allocator } = linux.kernel;
  const pages = [must(allocator.alloc({ tag: 'a' })), must(allocator.alloc({ tag: 'b' }))];
  const { sgl } = linux.sg_alloc_table(2);
  linux.sg_set_buf(sgl, must(pages[0]).phys + 4000, 96);
  linux.sg_set_buf(must(linux.sg_next(sgl)), must(pages[1]).phys, 100);
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
  assert.is(linux.sg_copy_from_buffer(sgl, 2, bytes, 300), 196);
  assert.equal(linux.kernel.memory.readBytes(must(pages[1]).phys, 100), bytes.subarray(96, 196));
  const back = new Uint8Array(150);
  assert.is(linux.sg_copy_to_buffer(sgl, 2, back, 150), 150);
  assert.equal(back, bytes.subarray(0, 150));
  linux.sg_init_one(sgl, must(pages[1]).phys + 50, 10);
  assert.equal([linux.sg_nents(sgl), linux.sg_phys(sgl)], [1, must(pages[1]).phys + 50]);
  assertBug('sg-init', () => linux.sg_set_buf(sgl, 2 ** 45, 10));
});

test('rq_for_each_segment() goes over all bios of a request', async () => {
  const { linux, q } = await bootDisk();
  const rq = inTask(linux, () => linux.blk_get_request(q, WRITE, GFP_KERNEL));
  if (typeof rq === 'number') throw new Error('no request');
  for (const pages of [2, 1]) assert.is(linux.blk_rq_append_bio(rq, bioOf(linux, pages, 512)), 0);
  const seen: number[] = [];
  rq_for_each_segment(rq, (vec, iter) => void seen.push(vec.bv_len, iter.bi_idx));
  assert.equal(seen, [512, 0, 512, 1, 512, 0]);
  const directions = [REQ_OP_READ, REQ_OP_WRITE, REQ_OP_DISCARD].map((op) => {
    rq.op = op;
    return rq_data_dir(rq);
  });
  assert.equal([directions, must(rq.bio).bi_vcnt * PAGE_SIZE], [[READ, WRITE, WRITE], 8192]);
});
