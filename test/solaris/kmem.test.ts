// Memory of the kernel by size, and caches of objects (kmem_alloc(9F), kmem_cache_create(9F)).

import { PAGE_SIZE } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import {
  bootSolaris,
  DDI_DMA_DONTWAIT,
  DDI_DMA_MAPPED,
  DDI_DMA_WRITE,
  DevInfo,
  KM_NOSLEEP,
  KM_SLEEP,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { alloc, attr, now } from './dma-rig.ts';
import { assertBug, boot, inInterrupt, inThread, must, pattern } from './help.ts';

const test = suite('solaris kmem');

test('kmem_alloc gives what the CPU can use, kmem_zalloc zeros, and all of it comes back', async () => {
  const solaris = await boot();
  const { kas, allocator } = solaris.kernel;
  const before = [...allocator.usage()];
  inThread(solaris, function* () {
    const [one, two] = [
      must(yield* solaris.kmem_alloc(5000, KM_SLEEP)),
      must(yield* solaris.kmem_zalloc(100, KM_SLEEP)),
    ];
    kas.write(one, pattern(5000));
    const bytes = new Uint8Array(100).fill(7);
    kas.read(two, bytes);
    assert.equal(bytes, new Uint8Array(100));
    const copy = new Uint8Array(5000);
    kas.read(one, copy);
    assert.equal(copy, pattern(5000));
    assert.is(yield* solaris.kmem_alloc(0, KM_SLEEP), null);
    solaris.kmem_free(one, 5000);
    solaris.kmem_free(two, 100);
    assert.is(kas.pageAt(one), null);
  });
  assert.equal([...allocator.usage()], before);
  assert.is(solaris.kmem_in_use().size, 0);
});

test('kmem_free: the very memory, once, with its size, and not while it is bound', async () => {
  const machine = await createMachine({ ram: 'small', guard: false });
  const solaris = bootSolaris(machine);
  const dip = new DevInfo(machine.addController({ kind: 'ahci' }));
  const buf = must(now(solaris, solaris.kmem_alloc(6000, KM_NOSLEEP)));
  assert.match(assertBug('kmem-free', () => solaris.kmem_free(buf, 5999)).message, 'of 6000');
  assertBug('kmem-free', () => solaris.kmem_free(buf + PAGE_SIZE, 6000));
  const h = alloc(solaris, dip, attr());
  const { ddi_dma_addr_bind_handle: bind } = solaris;
  const [at, bytes] = [buf + 5000, 1000];
  const code = now(solaris, bind(h, null, at, bytes, DDI_DMA_WRITE, DDI_DMA_DONTWAIT, null, null, null));
  assert.is(code, DDI_DMA_MAPPED);
  assertBug('free-mapped', () => solaris.kmem_free(buf, 6000));
  solaris.ddi_dma_unbind_handle(h);
  inInterrupt(solaris, () => solaris.kmem_free(buf, 6000));
  assertBug('kmem-free', () => solaris.kmem_free(buf, 6000));
});

test('without memory KM_NOSLEEP is null and leaves nothing behind, KM_SLEEP waits', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  const before = [...kernel.allocator.usage()];
  assert.is(now(solaris, solaris.kmem_alloc(2 ** 31, KM_NOSLEEP)), null);
  kernel.kmemFailures.set({ every: 1 });
  assert.is(now(solaris, solaris.kmem_zalloc(1, KM_NOSLEEP)), null);
  assert.equal([[...kernel.allocator.usage()], solaris.kmem_in_use().size], [before, 0]);
  const task = kernel.scheduler.spawn('sleeper', () => solaris.kmem_alloc(1, KM_SLEEP));
  kernel.scheduler.run({ untilNs: kernel.scheduler.now() + 2e9 });
  assert.is(task.exitValue, undefined);
  kernel.kmemFailures.off();
  kernel.scheduler.run({ until: task });
  solaris.kmem_free(must(task.exitValue), 1);
});

test('a cache constructs once, hands out again what was freed, and destroys at its end', async () => {
  const solaris = await boot();
  const calls: string[] = [];
  let fails = false;
  const cache = solaris.kmem_cache_create(
    'things',
    () => ({ id: 0 }),
    0,
    (thing, priv: string, kmflags) => {
      thing.id = calls.push(`+${priv}${kmflags}`);
      return fails ? -1 : 0;
    },
    (thing, priv) => {
      calls.push(`-${priv}${thing.id}`);
    },
    null,
    'x',
    null,
    0,
  );
  const take = () => now(solaris, solaris.kmem_cache_alloc(cache, KM_NOSLEEP));
  const [one, two] = [must(take()), must(take())];
  assert.equal([...solaris.kmem_in_use()], [['things', 2]]);
  solaris.kmem_cache_free(cache, one);
  assertBug('kmem-cache', () => solaris.kmem_cache_free(cache, one));
  assert.is(take(), one, 'as it was freed');
  assert.equal(calls, ['+x1', '+x1']);
  fails = true;
  assert.is(take(), null);
  assertBug('kmem-cache', () => solaris.kmem_cache_destroy(cache));
  for (const thing of [one, two]) solaris.kmem_cache_free(cache, thing);
  solaris.kmem_cache_destroy(cache);
  assert.equal(calls.slice(3), ['-x1', '-x2']);
  assert.is(solaris.kmem_in_use().size, 0);
  assertBug('kmem-cache', () => take());
});
