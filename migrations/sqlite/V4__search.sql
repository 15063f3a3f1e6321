-- What a search over a million bundles needs. bundle_metadata stays the one source of truth: the columns and tables made
-- here are derived from it by triggers. The reasons stand in the MySQL file of the same number.

ALTER TABLE `bundle` ADD COLUMN `name` VARCHAR(255) COLLATE NOCASE NULL;
ALTER TABLE `bundle` ADD COLUMN `created` BIGINT NULL;
ALTER TABLE `bundle` ADD COLUMN `data_size` BIGINT NULL;
ALTER TABLE `bundle` ADD COLUMN `is_public` INTEGER NOT NULL DEFAULT 0;
ALTER TABLE `bundle` ADD COLUMN `command_key` TEXT COLLATE NOCASE GENERATED ALWAYS AS (substr(`command`, 1, 191)) VIRTUAL;
ALTER TABLE `bundle_metadata` ADD COLUMN `bundle_id` BIGINT NULL;
ALTER TABLE `bundle_metadata` ADD COLUMN `number` DOUBLE NULL;
ALTER TABLE `bundle_metadata`
  ADD COLUMN `value_key` TEXT COLLATE NOCASE GENERATED ALWAYS AS (substr(`metadata_value`, 1, 63)) VIRTUAL;

-- Pieces of names (three characters) and of uuids ('#' and three digits at a multiple of three): what contains a word
-- has the word's pieces.
CREATE TABLE IF NOT EXISTS `bundle_gram` (
  `gram` VARCHAR(4) NOT NULL,
  `bundle_id` BIGINT NOT NULL,
  PRIMARY KEY (`gram`, `bundle_id`)
) WITHOUT ROWID;

-- Every bundle that is on no worksheet, and perhaps some that are.
CREATE TABLE IF NOT EXISTS `bundle_floating` (
  `bundle_id` INTEGER PRIMARY KEY
);

-- Sums over bundles. There is one writer, so the rows are changed in place.
CREATE TABLE IF NOT EXISTS `bundle_total` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `owner_id` VARCHAR(255) NOT NULL,
  `state` VARCHAR(63) NOT NULL,
  `is_public` INTEGER NOT NULL,
  `is_anonymous` INTEGER NOT NULL,
  `bundles` BIGINT NOT NULL,
  `sized` BIGINT NOT NULL,
  `bytes` BIGINT NOT NULL,
  UNIQUE (`owner_id`, `state`, `is_public`, `is_anonymous`)
);
INSERT OR IGNORE INTO `named_lock` (`name`) VALUES ('bundle_total');

-- 0 to 255: the places in a name.
CREATE TABLE IF NOT EXISTS `search_position` (
  `position` INTEGER PRIMARY KEY
);
INSERT INTO `search_position` (`position`)
  SELECT `a`.`n` + 4 * `b`.`n` + 16 * `c`.`n` + 64 * `d`.`n`
  FROM (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `a`
  JOIN (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `b`
  JOIN (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `c`
  JOIN (SELECT 0 AS `n` UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) `d`;

-- What is there already.
UPDATE `bundle_metadata` SET
  `bundle_id` = (SELECT `b`.`id` FROM `bundle` `b` WHERE `b`.`uuid` = `bundle_metadata`.`bundle_uuid`),
  `number` = CASE WHEN `metadata_value` GLOB '[0-9]*' OR `metadata_value` GLOB '[-+][0-9]*' THEN CAST(`metadata_value` AS REAL) END;
UPDATE `bundle` SET
  `name` = substr((SELECT `m`.`metadata_value` FROM `bundle_metadata` `m`
    WHERE `m`.`bundle_uuid` = `bundle`.`uuid` AND `m`.`metadata_key` = 'name' ORDER BY `m`.`id` DESC LIMIT 1), 1, 255),
  `created` = CAST((SELECT `m`.`metadata_value` FROM `bundle_metadata` `m`
    WHERE `m`.`bundle_uuid` = `bundle`.`uuid` AND `m`.`metadata_key` = 'created' ORDER BY `m`.`id` DESC LIMIT 1) AS INTEGER),
  `data_size` = CAST((SELECT `m`.`metadata_value` FROM `bundle_metadata` `m`
    WHERE `m`.`bundle_uuid` = `bundle`.`uuid` AND `m`.`metadata_key` = 'data_size' ORDER BY `m`.`id` DESC LIMIT 1) AS INTEGER),
  `is_public` = EXISTS (SELECT 1 FROM `group_bundle_permission` `p` JOIN `group` `g` ON `g`.`uuid` = `p`.`group_uuid`
    WHERE `p`.`object_uuid` = `bundle`.`uuid` AND `p`.`permission` >= 1 AND `g`.`name` = 'public' AND `g`.`user_defined` = 0);
INSERT OR IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
  SELECT lower(substr(`b`.`name`, `p`.`position` + 1, 3)), `b`.`id`
  FROM `bundle` `b` JOIN `search_position` `p` ON `p`.`position` <= length(`b`.`name`) - 3
  ORDER BY 1, 2;
INSERT OR IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
  SELECT '#' || substr(`b`.`uuid`, 3 + 3 * `p`.`position`, 3), `b`.`id`
  FROM `bundle` `b` JOIN `search_position` `p` ON `p`.`position` < 10
  ORDER BY 1, 2;
INSERT INTO `bundle_floating` (`bundle_id`)
  SELECT `b`.`id` FROM `bundle` `b`
  WHERE NOT EXISTS (SELECT 1 FROM `worksheet_item` `i` WHERE `i`.`bundle_uuid` = `b`.`uuid`);
INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
  SELECT COALESCE(`owner_id`, ''), `state`, `is_public`, `is_anonymous`, COUNT(*), COUNT(`data_size`),
    COALESCE(SUM(`data_size`), 0) FROM `bundle` GROUP BY COALESCE(`owner_id`, ''), `state`, `is_public`, `is_anonymous`;

-- A plain index ends with the id by itself, so each of the first five delivers bundles of one value by id.
CREATE INDEX `bundle_owner_id_index` ON `bundle` (`owner_id`);
CREATE INDEX `bundle_name_index` ON `bundle` (`name`);
CREATE INDEX `bundle_created_index` ON `bundle` (`created`);
CREATE INDEX `bundle_size_index` ON `bundle` (`data_size`);
CREATE INDEX `bundle_public_index` ON `bundle` (`is_public`);
CREATE INDEX `bundle_command_index` ON `bundle` (`command_key`, `owner_id`);
CREATE INDEX `metadata_search_index` ON `bundle_metadata` (`metadata_key`, `value_key`, `bundle_id`);
CREATE INDEX `metadata_number_index` ON `bundle_metadata` (`metadata_key`, `number`, `bundle_id`) WHERE `number` IS NOT NULL;
DROP INDEX `metadata_kv_index`;
DROP INDEX `bundle_owner_index`;
DROP INDEX `bundle_metadata_bundle_uuid_index`;

CREATE TRIGGER `bundle_metadata_after_insert` AFTER INSERT ON `bundle_metadata`
BEGIN
  UPDATE `bundle_metadata` SET
    `bundle_id` = (SELECT `id` FROM `bundle` WHERE `uuid` = NEW.`bundle_uuid`),
    `number` = CASE WHEN NEW.`metadata_value` GLOB '[0-9]*' OR NEW.`metadata_value` GLOB '[-+][0-9]*' THEN CAST(NEW.`metadata_value` AS REAL) END
    WHERE `id` = NEW.`id`;
END;

CREATE TRIGGER `bundle_metadata_after_insert_hot` AFTER INSERT ON `bundle_metadata`
WHEN NEW.`metadata_key` IN ('name', 'created', 'data_size')
BEGIN
  UPDATE `bundle` SET `name` = substr(NEW.`metadata_value`, 1, 255) WHERE `uuid` = NEW.`bundle_uuid` AND NEW.`metadata_key` = 'name';
  UPDATE `bundle` SET `created` = CAST(NEW.`metadata_value` AS INTEGER) WHERE `uuid` = NEW.`bundle_uuid` AND NEW.`metadata_key` = 'created';
  UPDATE `bundle` SET `data_size` = CAST(NEW.`metadata_value` AS INTEGER) WHERE `uuid` = NEW.`bundle_uuid` AND NEW.`metadata_key` = 'data_size';
END;

CREATE TRIGGER `bundle_metadata_after_update` AFTER UPDATE OF `metadata_value` ON `bundle_metadata`
BEGIN
  UPDATE `bundle_metadata` SET `number` = CASE WHEN NEW.`metadata_value` GLOB '[0-9]*' OR NEW.`metadata_value` GLOB '[-+][0-9]*' THEN CAST(NEW.`metadata_value` AS REAL) END WHERE `id` = NEW.`id`;
  UPDATE `bundle` SET `name` = substr(NEW.`metadata_value`, 1, 255) WHERE `uuid` = NEW.`bundle_uuid` AND NEW.`metadata_key` = 'name';
  UPDATE `bundle` SET `created` = CAST(NEW.`metadata_value` AS INTEGER) WHERE `uuid` = NEW.`bundle_uuid` AND NEW.`metadata_key` = 'created';
  UPDATE `bundle` SET `data_size` = CAST(NEW.`metadata_value` AS INTEGER) WHERE `uuid` = NEW.`bundle_uuid` AND NEW.`metadata_key` = 'data_size';
END;

CREATE TRIGGER `bundle_metadata_after_delete` AFTER DELETE ON `bundle_metadata`
WHEN OLD.`metadata_key` IN ('name', 'created', 'data_size')
BEGIN
  UPDATE `bundle` SET `name` = NULL WHERE `uuid` = OLD.`bundle_uuid` AND OLD.`metadata_key` = 'name';
  UPDATE `bundle` SET `created` = NULL WHERE `uuid` = OLD.`bundle_uuid` AND OLD.`metadata_key` = 'created';
  UPDATE `bundle` SET `data_size` = NULL WHERE `uuid` = OLD.`bundle_uuid` AND OLD.`metadata_key` = 'data_size';
END;

CREATE TRIGGER `bundle_after_insert` AFTER INSERT ON `bundle`
BEGIN
  INSERT INTO `bundle_floating` (`bundle_id`) VALUES (NEW.`id`);
  INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
    VALUES (COALESCE(NEW.`owner_id`, ''), NEW.`state`, NEW.`is_public`, NEW.`is_anonymous`, 1,
      (NEW.`data_size` IS NOT NULL), COALESCE(NEW.`data_size`, 0))
    ON CONFLICT (`owner_id`, `state`, `is_public`, `is_anonymous`) DO UPDATE SET `bundles` = `bundles` + excluded.`bundles`,
      `sized` = `sized` + excluded.`sized`, `bytes` = `bytes` + excluded.`bytes`;
  INSERT OR IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
    SELECT '#' || substr(NEW.`uuid`, 3 + 3 * `position`, 3), NEW.`id` FROM `search_position` WHERE `position` < 10;
  INSERT OR IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
    SELECT lower(substr(NEW.`name`, `position` + 1, 3)), NEW.`id` FROM `search_position` WHERE `position` <= length(NEW.`name`) - 3;
END;

CREATE TRIGGER `bundle_after_update_name` AFTER UPDATE OF `name` ON `bundle`
WHEN NEW.`name` IS NOT OLD.`name`
BEGIN
  DELETE FROM `bundle_gram` WHERE `bundle_id` = OLD.`id` AND `gram` IN (
    SELECT lower(substr(OLD.`name`, `position` + 1, 3)) FROM `search_position` WHERE `position` <= length(OLD.`name`) - 3);
  INSERT OR IGNORE INTO `bundle_gram` (`gram`, `bundle_id`)
    SELECT lower(substr(NEW.`name`, `position` + 1, 3)), NEW.`id` FROM `search_position` WHERE `position` <= length(NEW.`name`) - 3;
END;

CREATE TRIGGER `bundle_after_update_total` AFTER UPDATE OF `owner_id`, `state`, `is_public`, `is_anonymous`, `data_size` ON `bundle`
WHEN NEW.`owner_id` IS NOT OLD.`owner_id` OR NEW.`state` <> OLD.`state` OR NEW.`is_public` <> OLD.`is_public`
  OR NEW.`is_anonymous` <> OLD.`is_anonymous` OR NEW.`data_size` IS NOT OLD.`data_size`
BEGIN
  INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
    VALUES (COALESCE(OLD.`owner_id`, ''), OLD.`state`, OLD.`is_public`, OLD.`is_anonymous`, -1,
      -(OLD.`data_size` IS NOT NULL), -COALESCE(OLD.`data_size`, 0))
    ON CONFLICT (`owner_id`, `state`, `is_public`, `is_anonymous`) DO UPDATE SET `bundles` = `bundles` + excluded.`bundles`,
      `sized` = `sized` + excluded.`sized`, `bytes` = `bytes` + excluded.`bytes`;
  INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
    VALUES (COALESCE(NEW.`owner_id`, ''), NEW.`state`, NEW.`is_public`, NEW.`is_anonymous`, 1,
      (NEW.`data_size` IS NOT NULL), COALESCE(NEW.`data_size`, 0))
    ON CONFLICT (`owner_id`, `state`, `is_public`, `is_anonymous`) DO UPDATE SET `bundles` = `bundles` + excluded.`bundles`,
      `sized` = `sized` + excluded.`sized`, `bytes` = `bytes` + excluded.`bytes`;
END;

CREATE TRIGGER `bundle_after_delete` AFTER DELETE ON `bundle`
BEGIN
  DELETE FROM `bundle_floating` WHERE `bundle_id` = OLD.`id`;
  INSERT INTO `bundle_total` (`owner_id`, `state`, `is_public`, `is_anonymous`, `bundles`, `sized`, `bytes`)
    VALUES (COALESCE(OLD.`owner_id`, ''), OLD.`state`, OLD.`is_public`, OLD.`is_anonymous`, -1,
      -(OLD.`data_size` IS NOT NULL), -COALESCE(OLD.`data_size`, 0))
    ON CONFLICT (`owner_id`, `state`, `is_public`, `is_anonymous`) DO UPDATE SET `bundles` = `bundles` + excluded.`bundles`,
      `sized` = `sized` + excluded.`sized`, `bytes` = `bytes` + excluded.`bytes`;
  DELETE FROM `bundle_gram` WHERE `bundle_id` = OLD.`id` AND `gram` IN (
    SELECT '#' || substr(OLD.`uuid`, 3 + 3 * `position`, 3) FROM `search_position` WHERE `position` < 10);
  DELETE FROM `bundle_gram` WHERE `bundle_id` = OLD.`id` AND `gram` IN (
    SELECT lower(substr(OLD.`name`, `position` + 1, 3)) FROM `search_position` WHERE `position` <= length(OLD.`name`) - 3);
END;

CREATE TRIGGER `worksheet_item_after_insert` AFTER INSERT ON `worksheet_item` WHEN NEW.`bundle_uuid` IS NOT NULL
BEGIN
  DELETE FROM `bundle_floating` WHERE `bundle_id` = (SELECT `id` FROM `bundle` WHERE `uuid` = NEW.`bundle_uuid`);
END;

CREATE TRIGGER `worksheet_item_after_delete` AFTER DELETE ON `worksheet_item` WHEN OLD.`bundle_uuid` IS NOT NULL
BEGIN
  INSERT OR IGNORE INTO `bundle_floating` (`bundle_id`) SELECT `b`.`id` FROM `bundle` `b`
    WHERE `b`.`uuid` = OLD.`bundle_uuid` AND NOT EXISTS (SELECT 1 FROM `worksheet_item` `i`
      WHERE `i`.`bundle_uuid` = OLD.`bundle_uuid` AND `i`.`worksheet_uuid` = OLD.`worksheet_uuid`);
END;

CREATE TRIGGER `group_bundle_permission_after_insert` AFTER INSERT ON `group_bundle_permission`
WHEN EXISTS (SELECT 1 FROM `group` WHERE `uuid` = NEW.`group_uuid` AND `name` = 'public' AND `user_defined` = 0)
BEGIN
  UPDATE `bundle` SET `is_public` = NEW.`permission` >= 1 WHERE `uuid` = NEW.`object_uuid`;
END;

CREATE TRIGGER `group_bundle_permission_after_update` AFTER UPDATE ON `group_bundle_permission`
WHEN EXISTS (SELECT 1 FROM `group` WHERE `uuid` = NEW.`group_uuid` AND `name` = 'public' AND `user_defined` = 0)
BEGIN
  UPDATE `bundle` SET `is_public` = NEW.`permission` >= 1 WHERE `uuid` = NEW.`object_uuid`;
END;

CREATE TRIGGER `group_bundle_permission_after_delete` AFTER DELETE ON `group_bundle_permission`
WHEN EXISTS (SELECT 1 FROM `group` WHERE `uuid` = OLD.`group_uuid` AND `name` = 'public' AND `user_defined` = 0)
BEGIN
  UPDATE `bundle` SET `is_public` = 0 WHERE `uuid` = OLD.`object_uuid`;
END;
