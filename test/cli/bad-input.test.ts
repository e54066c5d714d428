// Wrong input: one clear line on stderr, exit status 2, nothing on stdout.

import { chmodSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, root, suite } from '../run/suite.ts';
import { backplane, withFolder } from './command.ts';

const test = suite('bad input');

function refuses(args: readonly string[], expected: RegExp): void {
  const { status, stdout, stderr } = backplane(args);
  assert.match(stderr, expected);
  assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
  assert.match(stderr, /^backplane: /);
  assert.is(stdout, '');
  assert.is(status, 2);
}

test('an unknown command gets a suggestion', () => {
  refuses(['rum'], /unknown command 'rum' \(Did you mean run\?\)/);
});

test('an unknown option gets a suggestion', () => {
  refuses(['run', '--contoller', 'ahci'], /unknown option '--contoller' \(Did you mean --controller\?\)/);
});

test('an option without its value says which', () => {
  refuses(['run', '--file'], /--file <path>.*argument missing/);
});

test('an unknown controller gets a suggestion', () => {
  refuses(['run', '--controller', 'achi'], /no controller is called "achi" \(did you mean "ahci"\?\)/);
  refuses(['run', '--controller', 'floppy'], /no controller is called "floppy"; there are .*"aha1542"/);
});

test('an unknown kernel gets a suggestion', () => {
  refuses(['run', '--kernel', 'solarsi'], /no kernel is called "solarsi" \(did you mean "solaris"\?\)/);
  refuses(['run', '--kernel', 'dos'], /no kernel is called "dos"; there are .*"linux"/);
});

test('an unknown scenario gets a suggestion', () => {
  refuses(['run', 'defualt'], /no scenario is called "defualt" \(did you mean "default"\?\)/);
});

test('a file that does not exist, is empty or is a folder is refused by its path', () => {
  withFolder((folder) => {
    const empty = join(folder, 'empty');
    writeFileSync(empty, '');
    mkdirSync(join(folder, 'sub'));
    refuses(['run', '--file', join(folder, 'no')], /\/no: there is no such file/);
    refuses(['run', '--file', empty], /\/empty is empty; --file takes a file of at least one byte/);
    refuses(['run', '--file', join(folder, 'sub')], /\/sub is a folder; --file takes a file/);
    refuses(['run', '--file', '/dev/null'], /\/dev\/null is no regular file/);
  });
});

if (process.getuid?.() === 0) {
  test.skip('a file without permission is refused by its path', 'root may read everything');
} else {
  test('a file without permission is refused by its path', () => {
    withFolder((folder) => {
      const secret = join(folder, 'secret');
      writeFileSync(secret, 'x');
      chmodSync(secret, 0);
      refuses(['run', '--file', secret], /\/secret: you may not read it/);
    });
  });
}

test('a file larger than the disk is refused with both sizes', () => {
  withFolder((folder) => {
    const large = join(folder, 'large');
    writeFileSync(large, new Uint8Array(100_000));
    refuses(
      ['run', '--file', large, '--disk-size', '64K'],
      /large has 100000 bytes and does not fit the disk of 65536 bytes/,
    );
  });
});

test('a disk whose size is no multiple of the sector is refused', () => {
  refuses(
    ['run', '--disk-size', '1000'],
    /a disk of 1000 bytes: the size must be a multiple of the sector, 512 bytes/,
  );
});

test('options that contradict each other are refused', () => {
  withFolder((folder) => {
    const image = join(folder, 'disk.img');
    writeFileSync(image, new Uint8Array(65536));
    refuses(
      ['run', '--file', image, '--image', image, '--in-place'],
      /--file and --image are the same file, .*disk\.img.*leave out --in-place/,
    );
    const board = join(root, 'firmware/profiles/ahci.json');
    refuses(
      ['run', '--profile', board, '--controller', 'aha1542'],
      /--profile ahci is for "ahci", and --controller says "aha1542"/,
    );
  });
  refuses(['run', '--file', ''], /--file is empty; it takes the path of a file/);
  refuses(['run', '--in-place'], /--in-place says how --image is used/);
});

test('an error is one line of a terminal, whatever the path', () => {
  refuses(['run', '--file', 'no\nsuch\x1b[31m'], /no\?such\?\[31m: there is no such file/);
  const { stderr } = backplane(['run', '--file', 'x'.repeat(3000)]);
  assert.match(stderr, /x…x+: the name is too long/);
  assert.ok(stderr.length < 300);
});

test('a file that no disk in memory holds is refused before it is read', () => {
  withFolder((folder) => {
    const huge = join(folder, 'huge');
    writeFileSync(huge, '');
    truncateSync(huge, 2 ** 40); // reading it would take the test's whole time
    refuses(['run', '--file', huge], /1099511627776 bytes does not fit memory.*--image/);
  });
});

test('a scenario that wants what the machine or the input has not is refused', () => {
  withFolder((folder) => {
    const path = join(folder, 'mine.json');
    const refuse = (fields: object, operation: object, expected: RegExp): void => {
      const parts = [{ title: 'a', operations: [{ op: 'write', ...operation }] }];
      writeFileSync(path, JSON.stringify({ name: 'mine', ...fields, parts }));
      refuses(['run', path], expected);
    };
    refuse(
      {},
      { offset: 2 ** 40 },
      /operation "write" wants from byte 1099511627776 on of .*, which has \d+ bytes/,
    );
    refuse({}, { bytes: 2 ** 40 }, /operation "write" wants 1099511627776 bytes from byte 0 on/);
    refuse(
      { machine: { ram: [{ base: 0, bytes: 4096 }] } },
      {},
      /the kernel needs a region at 0 of at least/,
    );
    refuse({ machine: { ram: [{ base: 2 ** 32, bytes: 2 ** 26 }] } }, {}, /the kernel needs a region at 0/);
    refuse(
      { controller: 'ahcii' },
      {},
      /scenario mine: no controller is called "ahcii" \(did you mean "ahci"/,
    );
  });
});

test('a size or seed that is none is refused with what would be right', () => {
  refuses(['run', '--disk-size', 'big'], /--disk-size "big" is no size; write bytes, or 64K, 32M, 2G/);
  refuses(['run', '--seed', '-1'], /--seed "-1" must be a whole number from 0 to 4294967295/);
});

test('a scenario file with a wrong field is refused by file and field', () => {
  withFolder((folder) => {
    const path = join(folder, 'mine.json');
    writeFileSync(path, JSON.stringify({ name: 'x', parts: [{ title: 'a', operations: [{ op: 'raed' }] }] }));
    refuses(['run', path], /mine\.json: parts\[0\]\.operations\[0\]\.op is "raed"; it must be/);
    writeFileSync(path, '{ not json');
    refuses(['run', path], /mine\.json: it is not JSON/);
    refuses(['run', join(folder, 'none.json')], /none\.json: there is no such file/);
  });
});

test('help begins with an example and goes to stdout', () => {
  for (const args of [['--help'], ['run', '--help'], ['controllers', '--help']]) {
    const { status, stdout } = backplane(args);
    assert.match(stdout, /^Examples?:\n {2}backplane /);
    assert.is(status, 0);
  }
});

test('no command at all is a question of usage', () => {
  const { status, stdout, stderr } = backplane([]);
  assert.is(status, 2);
  assert.is(stdout, '');
  assert.match(stderr, /Usage: backplane/);
});
