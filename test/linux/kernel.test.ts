import { bootLinux, EIO, errnoName, GFP_KERNEL, IS_ERR } from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug } from './help.ts';

const test = suite('linux kernel');

test('current is the running task, and null outside of tasks', async () => {
  const { kernel } = bootLinux(await createMachine({ ram: 'small' }));
  assert.is(kernel.current, null);
  const comm = kernel.scheduler.complete('dd', function* () {
    yield* kernel.scheduler.yieldNow();
    return kernel.current?.comm;
  });
  assert.is(comm, 'dd');
});

test('a call whose yield* was forgotten is found, when asked for', async () => {
  const { kernel, alloc_page } = bootLinux(await createMachine({ ram: 'small' }), { trackSleeps: true });
  const bug = assertBug('sleep-forgotten', () =>
    kernel.scheduler.complete('forgetful', function* () {
      // oxlint-disable-next-line typescript/no-floating-promises -- so is this
      alloc_page(GFP_KERNEL);
    }),
  );
  assert.match(bug.where, 'pageAlloc.alloc_page');
  kernel.scheduler.complete('careful', () => alloc_page(GFP_KERNEL));
});

test('two kernels with the same seed do the same, with another seed something else', async () => {
  const pages = async (seed: number): Promise<number[]> => {
    const { kernel } = bootLinux(await createMachine({ ram: 'small' }), { seed, placement: 'scatter' });
    return Array.from({ length: 20 }, () => kernel.allocator.alloc()?.pfn ?? 0);
  };
  assert.equal(await pages(7), await pages(7));
  assert.is.not((await pages(7)).join(), (await pages(8)).join());
});

test('an err-ptr is the object or a negative errno', () => {
  assert.is(IS_ERR(-EIO), true);
  assert.is(IS_ERR({}), false);
  assert.is(errnoName(-EIO), '-EIO');
  assert.is(errnoName(0), '0');
});
