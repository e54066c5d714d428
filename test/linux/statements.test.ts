// The statements of Linux's specification that are implemented.

import { checkStatements } from '../statements.ts';

checkStatements({
  name: "Linux's specification",
  heading: '## Statements of the specification that are not followed',
  tests: (path) => !path.startsWith('solaris'),
  statements: [
    ['POOL-', 1, 10],
    ['BIO-', 1, 13],
    ['LIFE-', 1, 23],
    ['GMR-', 1, 11],
    ['GMR-', 20, 20],
    ['RSC-', 1, 8],
    ['DLK-', 1, 12],
    ['LIM-', 1, 8],
    ['SPL-', 1, 6],
    ['SG-', 1, 6],
    ['MAP-', 1, 25],
    ['MAP-X', 1, 6],
    ['UNM-', 1, 6],
    ['BNC-', 1, 11],
    ['REQ-', 1, 5],
    ['GUP-', 1, 28],
    ['PG-', 1, 2],
    ['DMIO-', 1, 19],
    ['MPAGE-', 1, 15],
    ['BRFP-', 1, 5],
    ['DMA-', 1, 9],
  ],
});
