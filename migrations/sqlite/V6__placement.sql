-- When an item was put in its place, counted within its worksheet; where it is NULL, the row's id tells. Items that others
-- push down are placed again without becoming new rows.
ALTER TABLE `worksheet_item` ADD COLUMN `placed` BIGINT NULL;
